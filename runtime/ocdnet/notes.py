"""What a plan tells beside its result: why, what to beware of, what to ask the user."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Question:
    """Something that only the user can settle.

    Attributes:
        about: the flag or spec key that answers it, e.g. `"--train-dataset"`.
        question: what to ask, in one sentence.
        blocking: whether the plan can't be run before it is answered.
    """

    about: str
    question: str
    blocking: bool = True


@dataclass
class Notes:
    """Collects, in the order of finding, without repeats.

    Attributes:
        why: the rules that fired, a sentence each.
        warnings: what was changed or may surprise.
        missing: what to ask the user.
        asked_keys: spec keys that a question in `missing` is about.
    """

    why: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    missing: list[Question] = field(default_factory=list)
    asked_keys: set[str] = field(default_factory=set)

    def because(self, rule: str) -> None:
        """Tell a rule that fired."""
        if rule not in self.why:
            self.why.append(rule)

    def warn(self, warning: str) -> None:
        """Tell what was changed or may surprise."""
        if warning not in self.warnings:
            self.warnings.append(warning)

    def ask(
        self, about: str, question: str, *, key: str | None = None, blocking: bool = True
    ) -> None:
        """Hold a question to the user; `key` is the spec key that the answer settles."""
        asked = Question(about, question, blocking)
        if asked not in self.missing:
            self.missing.append(asked)
        if key is not None:
            self.asked_keys.add(key)
