"""What cannot be told from rows: questions, each with a guess and why it is the guess, and their answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from manymodels_spark.errors import SourceError
from manymodels_spark.spec.hints import did_you_mean

GIVEN, ASKED, GUESSED = "given", "asked", "guessed"


@dataclass(frozen=True)
class Question:
    """One thing that the rows leave open; several names in an answer are separated by commas."""

    key: str
    text: str
    guess: str
    why: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answered:
    """A question with its answer and where that came from: `given`, `asked` or `guessed`."""

    question: Question
    answer: str
    origin: str


@dataclass
class Answers:
    """Answers as they come: those given in advance by key, then those of `ask`, else the guess.

    Args:
        given: answers in advance, such as those of the command's options.
        ask: puts a question to a person and returns the answer; None where nobody is there.

    """

    given: Mapping[str, str] = field(default_factory=dict)
    ask: Callable[[Question], str] | None = None
    log: list[Answered] = field(default_factory=list)

    def get(self, question: Question) -> str:
        """The answer to a question. Raises SourceError where it is none of the options."""
        if question.key in self.given:
            answer, origin = self.given[question.key], GIVEN
        elif self.ask is not None:
            answer, origin = self.ask(question), ASKED
        else:
            answer, origin = question.guess, GUESSED
        known = question.options
        if known and (wrong := [one for one in names(answer) if one not in known]):
            hint = did_you_mean(wrong[0], known, listed=False)
            raise SourceError(f"{question.key}: {wrong[0]!r} is none of {', '.join(known)}.{hint}")
        self.log.append(Answered(question, answer, origin))
        return answer

    def given_or(self, key: str, sure: str, options: tuple[str, ...] = ()) -> str:
        """What is sure without a question, unless another answer was given in advance."""
        if key not in self.given:
            return sure
        return self.get(Question(key, "", sure, "", options))


def names(answer: str) -> list[str]:
    """The names of an answer: `store, item` is two."""
    return [part.strip() for part in answer.split(",") if part.strip()]
