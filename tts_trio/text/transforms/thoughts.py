"""Takes out what an LLM says to itself, or to a program: thoughts, tool calls, special tokens."""

from __future__ import annotations

import re

from tts_trio.text.transforms.rewriter import Rewriter, Rule, nothing

_INWARD = (
    "think|thinking|thought|reasoning|reflection|scratchpad|analysis|tool_call|tool_calls|tool_response|function_calls?"
)
_BEGIN = re.compile(rf"<(?P<name>{_INWARD})(?:\s[^<>]{{0,200}})?>|\[(?P<list>TOOL_CALLS|THINK)\]", re.IGNORECASE)
_SPECIAL = re.compile(
    rf"</(?:{_INWARD})>|"  # its beginning stands in the prompt of some models
    r"<\|start_header_id\|>\w{1,20}<\|end_header_id\|>|<\|im_start\|>\w{1,20}\n?|<start_of_turn>\w{1,20}\n?"
    r"|<\|[\w ./-]{1,60}\|>|<｜[^<>\s]{1,60}｜>|</?s>|\[/?INST\]|<(?:start_of_turn|end_of_turn|bos|eos|pad)>"
)
_BEGUN = re.compile(
    r"<(?:\|(?:im_start|start_header_id)\||start_of_turn)>\w{0,20}(?:<(?:\|\w{0,20})?\|?)?\Z"
    rf"|<(?:[|｜][\w ./▁|｜-]{{0,60}}|/?\w{{0,20}}|(?:{_INWARD})\s[^<>]{{0,200}})\Z|\[/?[A-Z_]{{0,12}}\Z"
)


class Reasoning(Rewriter):
    """Takes out what is not for the listener: a `Transform`."""

    def __init__(self) -> None:
        super().__init__((Rule(_BEGIN, _BEGUN, self._begin), Rule(_SPECIAL, None, nothing)), _STARTS, _STARTS)

    def _begin(self, match: re.Match[str]) -> str:
        name = match["name"] or match["list"]
        end = re.compile(rf"</{name}>|\[/{name}\]", re.IGNORECASE)
        self.omit_until(end, _END_BEGUN, _REST)
        return ""


_STARTS = re.compile(r"<|\[/?[A-Z]|\[\Z")
_END_BEGUN = re.compile(r"[<\[](?:/\w{0,20})?\Z")
_REST = re.compile(r"[\s\S][^<\[]*")
