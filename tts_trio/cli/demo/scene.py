"""The script of the call: what each side says, and where the demo interrupts it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import attrs


@attrs.frozen
class Caller:
    """The caller speaks while the agent is silent."""

    text: str


@attrs.frozen
class Static:
    """The agent speaks a static text."""

    text: str


@attrs.frozen
class Reply:
    """The agent speaks an LLM's reply.

    Attributes:
        writes: The parts of the reply in order. A number is a pause in seconds, in which the LLM calls a tool.
        interrupted_after: The words after which the caller interrupts; None: he does not.
        interruption: What the caller says then.
        lost_after: The words after whose audio the connection is cut; None: it is not.
    """

    writes: tuple[str | float, ...]
    interrupted_after: str | None = None
    interruption: str = ""
    lost_after: str | None = None

    @property
    def text(self) -> str:
        """The whole text of the reply."""
        return "".join(part for part in self.writes if isinstance(part, str))


Turn: TypeAlias = Caller | Static | Reply

_ENGLISH_NOTED = Static("Thank you, I have noted that.")
_RUSSIAN_NOTED = Static("Спасибо, я записала.")

SCENES: Mapping[str, Sequence[Turn]] = {
    "en": (
        Static("Northwind Deliveries, good afternoon. How can I help you?"),
        Caller("Hi! Where is my parcel?"),
        Reply(("I will gladly find it for you. Could you tell me the number of your order?",)),
        Caller("It is four two one seven."),
        Reply(("One moment, please, I am looking.", 3.0, " Your parcel left our warehouse this morning.")),
        Caller("And when will it be here?"),
        Reply(
            (
                (
                    "It will be with you on Friday. We can bring it to your door, leave it at a parcel shop near you, "
                    "or keep it for you at the depot until Monday."
                ),
            ),
            interrupted_after="leave it at a",
            interruption="To my door, please.",
        ),
        _ENGLISH_NOTED,
        Reply(
            (
                (
                    "The driver will ring between nine and eleven on Friday morning. You will get a message when he is "
                    "near, so there is no need to wait at the window."
                ),
            ),
            lost_after="between nine",
        ),
        Caller("My bell is broken. He should call me."),
        _ENGLISH_NOTED,
        Reply(("Then he will call you. Goodbye!",)),
    ),
    "ru": (
        Static("Служба доставки «Северный ветер», добрый день. Чем могу помочь?"),
        Caller("Здравствуйте! Где моя посылка?"),
        Reply(("С удовольствием найду её для вас. Назовите, пожалуйста, номер заказа.",)),
        Caller("Четыре два один семь."),
        Reply(("Одну минуту, пожалуйста, я смотрю.", 3.0, " Ваша посылка сегодня утром уехала со склада.")),
        Caller("А когда она будет у меня?"),
        Reply(
            (
                (
                    "Она будет у вас в пятницу. Мы можем привезти её домой, оставить в пункте выдачи рядом с вами "
                    "или подержать на складе до понедельника."
                ),
            ),
            interrupted_after="оставить в пункте",
            interruption="Домой, пожалуйста.",
        ),
        _RUSSIAN_NOTED,
        Reply(
            (
                (
                    "Курьер позвонит в дверь между девятью и одиннадцатью, в пятницу утром. Когда он будет рядом, вам "
                    "придёт сообщение, так что ждать у окна не нужно."
                ),
            ),
            lost_after="позвонит в дверь",
        ),
        Caller("Звонок не работает. Пусть он наберёт меня."),
        _RUSSIAN_NOTED,
        Reply(("Хорошо, он вам позвонит. До свидания!",)),
    ),
}


def characters(scene: Sequence[Turn]) -> int:
    """Return how many characters the service speaks at most. A static text counts once, as it is cached."""
    texts = [turn.text for turn in scene if isinstance(turn, Reply)]
    static = {turn.text for turn in scene if isinstance(turn, Static)}
    return sum(map(len, (*texts, *static)))
