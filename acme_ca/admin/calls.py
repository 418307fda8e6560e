"""What a call of the admin API is: declared once, for the dispatcher, the OpenAPI document and the tests.

Each noun is a module with `CALLS`. `work` gets what was asked, read and checked, and returns the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, StringConstraints

from acme_ca.admin.problems import Forbidden, PreconditionFailed, PreconditionRequired
from acme_ca.authority import Authority, Environment
from acme_ca.clock import rfc3339
from acme_ca.complaints import TIME
from acme_ca.models.admin import Operator, Permission
from acme_ca.problems import NotFound
from acme_ca.web import MAX_BODY

PAGE_MAX = 1000
YEARS = 1970, 9000  # of times: nothing is older, and what is reckoned from them stays a time that Python has
PLAIN = r"^[!-.0-~]{1,200}$"
PLAIN_IN_HEADER = r"^[!-~]([ -~]{0,198}[!-~])?$"
PRINTABLE = r"^[^\x00-\x1f\x7f]*$"

Text = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=PRINTABLE)]
"""A line of text."""
Note = Annotated[str, StringConstraints(max_length=2000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$")]
"""Text that may have several lines."""


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(TIME)
    if not YEARS[0] <= moment.year < YEARS[1]:
        raise ValueError(f"expected a year from {YEARS[0]} on, and before {YEARS[1]}")
    return moment


Time = Annotated[datetime, AfterValidator(_aware), PlainSerializer(rfc3339, return_type=str, when_used="json")]
"""A time with its zone; answers have it in UTC. RFC 3339."""

Instant = Annotated[
    datetime,
    AfterValidator(_aware),
    PlainSerializer(lambda moment: moment.isoformat(), return_type=str, when_used="json"),
]
"""A time that is given back as it was answered: to the microsecond, where `Time` has whole seconds."""


class Model(BaseModel):
    """What goes over the wire: nothing unknown, nothing of another type. Docstrings become the documentation."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class Query(BaseModel):
    """The query of a call: text that becomes what the fields are, and nothing unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Paged(Query):
    """The query of a list."""

    limit: Annotated[int, Field(ge=1, le=PAGE_MAX)] = 100
    """How many items a page has at most."""
    after: Text | None = None
    """Where the page begins: `next` of the page before."""


Item = TypeVar("Item", bound=BaseModel)


class Page(Model, Generic[Item]):
    """A page of a list."""

    items: tuple[Item, ...]
    """What there is."""
    next: str | None = None
    """Where the next page begins (`after`); none behind the last one."""


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer with more than its body: `etag` is what If-Match has to say for a change of it."""

    body: BaseModel
    etag: str | None = None
    location: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked, by whom. `path` has the values of the path's variables."""

    ca: Authority
    operator: Operator
    path: Mapping[str, str]
    query: Any
    body: Any
    dry_run: bool
    if_match: str | None

    @property
    def environment(self) -> Environment:
        """The environment of the path; raises NotFound, and Forbidden when it is not the operator's."""
        return self.environment_of(self.path["environment"])

    def environment_of(self, name: str) -> Environment:
        """Return an environment by its name; raises NotFound, and Forbidden when it is not the operator's."""
        found = self.ca.environments.get(name)
        if found is None:
            raise NotFound(f"there is no environment {name[:80]!a}; there are {', '.join(self.ca.environments)}")
        if not self.operator.sees(name):
            raise Forbidden(f"{self.operator.by} is there for {', '.join(self.operator.environments)}, not for {name}")
        return found

    @property
    def environments(self) -> tuple[str, ...]:
        """The names of the environments that the operator has to do with."""
        return tuple(name for name in self.ca.environments if self.operator.sees(name))

    def require_match(self, etag: str) -> None:
        """Raise PreconditionFailed unless If-Match says what is there now, PreconditionRequired when it is missing.

        The comparison is the strong one: a weak tag matches nothing. RFC 9110 §13.1.1.
        """
        if self.if_match is None:
            raise PreconditionRequired(
                "a change needs If-Match with the ETag of what it is a change of; read it first, or say If-Match: *"
            )
        if self.if_match not in {"*", f'"{etag}"'}:
            raise PreconditionFailed("it was changed since it was read; read it again and repeat the change")


Work = Callable[[Asked], "BaseModel | Answered"]
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call. `path` is below /admin/v1, its variables in braces.

    `acts`: it takes an Idempotency-Key. `edits`: it takes If-Match. `dry_run`: it takes `?dry_run=true`; with "undone"
    everything that `work` does to the database is rolled back, with "own" `work` looks at `asked.dry_run` itself.
    `body_limit` is in bytes. `everywhere`: it is about all environments, and not for operators who are there for some.
    """

    method: Method
    path: str
    permission: Permission
    summary: str
    work: Work
    answer: type[BaseModel]
    query: type[Query] = Query
    body: type[BaseModel] | None = None
    status: int = 200
    acts: bool = False
    edits: bool = False
    everywhere: bool = False
    body_limit: int = MAX_BODY
    dry_run: Literal["no", "undone", "own"] = "no"

    @property
    def variables(self) -> Sequence[str]:
        """The names of the path's variables."""
        return [part.strip("{}") for part in self.path.split("/") if part.startswith("{")]

    @property
    def name(self) -> str:
        """The call's name, unique in the API."""
        words = [part.strip("{}") for part in self.path.split("/") if part]
        return "-".join([self.method.lower(), *words])


reading = partial(Call, method="GET", permission=Permission.READ)
"""A call that reads what every role may read."""
