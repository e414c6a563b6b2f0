"""The models and voices of the server, and the answers that list them.

The models, languages and limits are those of the ElevenLabs documentation of mid 2026.
"""

from __future__ import annotations

from typing import Any

import attrs

from tts_trio.local_server.behavior import Behavior

_ENGLISH = ("en",)
_MULTILINGUAL = ("en", "ja", "zh", "de", "hi", "fr", "ko", "pt", "it", "es", "id", "nl", "tr", "fil", "pl", "sv", "bg",
                 "ro", "ar", "cs", "el", "fi", "hr", "ms", "sk", "da", "ta", "uk", "ru")  # fmt: skip
_FLASH = (*_MULTILINGUAL, "hu", "no", "vi")
_V3 = (*_FLASH, "af", "as", "az", "be", "bn", "bs", "ca", "et", "fa", "gl", "gu", "ha", "he", "hy", "is", "jv",
       "ka", "kk", "kn", "ky", "lb", "ln", "lt", "lv", "mk", "ml", "mr", "ne", "ny", "pa", "ps", "sd", "sl", "so",
       "sr", "sw", "te", "th", "ur", "cy")  # fmt: skip


@attrs.frozen
class Model:
    """A model, which serves either the text-to-speech WebSockets or the text-to-dialogue endpoints."""

    model_id: str
    characters: int  # the documented limit of one request; the service accepts a tenth more
    languages: tuple[str, ...] = _FLASH  # ISO 639-1
    credits_a_character: float = 1.0
    dialogue_voices: int = 0  # the most voices in one dialogue; 0: the model speaks no dialogues
    normalizes: bool = True  # `apply_text_normalization="auto"` turns the normalizer on

    @property
    def is_v3(self) -> bool:
        """Whether the model refuses parameters that other models accept."""
        return self.model_id.startswith("eleven_v3")


MODELS = {
    model.model_id: model
    for model in (
        Model("eleven_flash_v2_5", 40_000, credits_a_character=0.5, normalizes=False),
        Model("eleven_flash_v2", 30_000, _ENGLISH, credits_a_character=0.5),
        Model("eleven_turbo_v2_5", 40_000, credits_a_character=0.5, normalizes=False),
        Model("eleven_turbo_v2", 30_000, _ENGLISH, credits_a_character=0.5),
        Model("eleven_multilingual_v2", 10_000, _MULTILINGUAL),
        Model("eleven_v3", 5_000, _V3, dialogue_voices=10),
        Model("eleven_v3_conversational", 5_000, _V3, credits_a_character=0.5, dialogue_voices=1),
        Model("eleven_v4", 10_000, _V3, dialogue_voices=10),
        Model("eleven_v4_turbo", 10_000, _V3, credits_a_character=0.5, dialogue_voices=1),
    )
}
DEFAULT_MODEL = "eleven_multilingual_v2"
DEFAULT_DIALOGUE_MODEL = "eleven_v3"
DEFAULT_DIALOGUE_SOCKET_MODEL = "eleven_v3_conversational"

_VOICES = {"21m00Tcm4TlvDq8ikWAM": "Rachel", "JBFqnCBsd6RMkjVDRZzb": "George", "EXAVITQu4vr4xnSDxMaL": "Sarah"}


SETTINGS = {"stability": 0.5, "similarity_boost": 0.75, "style": 0.0, "use_speaker_boost": True, "speed": 1.0}
"""The settings of every voice, and the default settings."""


_SUBSCRIPTION: dict[str, Any] = {
    "tier": "creator", "status": "active", "currency": "usd", "current_overage": {"amount": "0", "currency": "usd"},
    "billing_period": "monthly_period", "character_refresh_period": "monthly_period", "next_invoice": None,
    "open_invoices": [], "has_open_invoices": False, "next_character_count_reset_unix": None,
    "max_character_limit_extension": None, "max_credit_limit_extension": 0, "can_extend_character_limit": False,
    "allowed_to_extend_character_limit": False, "voice_limit": 30, "professional_voice_limit": 1,
    "can_extend_voice_limit": False, "voice_slots_used": 0, "professional_voice_slots_used": 0,
    "professional_voice_slots_used_in_workspace": 0, "voice_add_edit_counter": 0,
    "can_use_instant_voice_cloning": True, "can_use_professional_voice_cloning": True,
}  # fmt: skip
_USER = {
    "user_id": "local", "workspace_id": "local", "seat_type": "workspace_admin", "created_at": 0, "is_new_user": False,
    "can_use_delayed_payment_methods": False, "is_onboarding_completed": True,
    "is_onboarding_checklist_completed": True,
}  # fmt: skip
_VOICE: dict[str, Any] = {
    "category": "premade", "labels": {"language": "en"}, "description": None, "preview_url": None,
    "available_for_tiers": [],
    "high_quality_base_model_ids": list(MODELS), "settings": SETTINGS,
    "verified_languages": [
        {"language": code, "model_id": "eleven_multilingual_v2", "accent": None, "locale": None, "preview_url": None}
        for code in ("en", "ru")
    ],
    "fine_tuning": {
        "is_allowed_to_fine_tune": False, "state": {}, "verification_failures": [], "verification_attempts_count": 0,
        "manual_verification_requested": False,
    },
}  # fmt: skip


def models() -> list[dict[str, Any]]:
    """Return the body of `GET /v1/models`."""
    return [
        {
            "model_id": model.model_id,
            "name": model.model_id.replace("_", " ").title(),
            "can_do_text_to_speech": True,
            "can_do_voice_conversion": False,
            "can_be_finetuned": False,
            "token_cost_factor": model.credits_a_character,
            "maximum_text_length_per_request": model.characters,
            "concurrency_group": "standard" if model.dialogue_voices or model.credits_a_character == 1 else "turbo",
            "languages": [{"language_id": code, "name": code} for code in model.languages],
            "model_rates": {"character_cost_multiplier": model.credits_a_character, "cost_discount_multiplier": 1.0},
        }
        for model in MODELS.values()
    ]


def voices(behavior: Behavior) -> list[dict[str, Any]]:
    """Return the voices that `GET /v1/voices` lists."""
    return [voice(voice_id) for voice_id in (_VOICES if behavior.voices is None else behavior.voices)]


def voice(voice_id: str) -> dict[str, Any]:
    """Return the body of `GET /v1/voices/{voice_id}`. The id may be unknown."""
    return {"voice_id": voice_id, "name": _VOICES.get(voice_id, voice_id), **_VOICE}


def user(behavior: Behavior, used: int) -> dict[str, Any]:
    """Return the body of `GET /v1/user`."""
    return {**_USER, "subscription": subscription(behavior, used)}


def subscription(behavior: Behavior, used: int) -> dict[str, Any]:
    """Return the body of `GET /v1/user/subscription`."""
    limit = 1_000_000 if behavior.quota is None else behavior.quota
    return {**_SUBSCRIPTION, "character_count": used, "character_limit": limit}
