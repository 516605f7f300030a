"""What a plan says beside its result: why, what to beware of, what to ask the user."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Note:
    """One sentence for people.

    Attributes:
        text: the sentence; no code reads it.
        about: the spec key, flag or file that it is about; empty: the plan as a whole.
    """

    text: str
    about: str = ""


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
        why: the rules that fired.
        warnings: what was changed or may surprise.
        missing: what to ask the user.
        asked_keys: spec keys that a question in `missing` is about.
    """

    why: list[Note] = field(default_factory=list)
    warnings: list[Note] = field(default_factory=list)
    missing: list[Question] = field(default_factory=list)
    asked_keys: set[str] = field(default_factory=set)

    def because(self, rule: str, about: str = "", *, first: bool = False) -> None:
        """Note a rule that fired; `first` before all others."""
        if first:
            self.why.insert(0, Note(rule, about))
        else:
            _add(self.why, Note(rule, about))

    def warn(self, warning: str, about: str = "") -> None:
        """Note what was changed or may surprise."""
        _add(self.warnings, Note(warning, about))

    def ask(
        self, about: str, question: str, *, key: str | None = None, blocking: bool = True
    ) -> None:
        """Hold a question to the user; `key` is the spec key that the answer settles."""
        asked = Question(about, question, blocking)
        if asked not in self.missing:
            self.missing.append(asked)
        if key is not None:
            self.asked_keys.add(key)

    @property
    def blocked(self) -> bool:
        """Whether a question must be answered before anything can be run."""
        return any(question.blocking for question in self.missing)


def _add(notes: list[Note], note: Note) -> None:
    if note not in notes:
        notes.append(note)
