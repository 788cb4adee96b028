"""Let members go: disconnect them, erase what is kept of them, and give their grants back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from shared.core import backoff
from shared.core.depart import Gone, depart, placeholder
from shared.core.keys import fingerprint
from shared.core.model import (
    ACTIVE,
    AccountId,
    Connection,
    Departure,
    LeaveJob,
    Place,
    Progress,
    ProviderName,
    Ref,
    SealedGrant,
    Status,
    Todo,
    UserId,
)
from shared.core.recover import Retry, recover
from shared.erasure import Erasure
from shared.errors import (
    Busy,
    LostRace,
    NeverConnected,
    ProviderError,
    StorageDown,
    Unsealable,
)
from shared.log import alarm, event
from shared.ports import (
    Cipher,
    Clock,
    ConnectionStore,
    DepartureStore,
    Dice,
    JobQueue,
    Mint,
    Receipt,
    RecordStore,
    Stored,
)
from shared.provider import Provider
from shared.revocation import Revocation, open_user, seal_account, seal_user

#: The job comes after the request has most likely done its work.
RESUME_AFTER = timedelta(seconds=60)
#: By then a request that was about to change the connection has done so, or has died.
PATIENCE = timedelta(minutes=10)
#: Longer than any function may run, so that whoever was late has written what they had.
LATE = timedelta(minutes=6)
#: How long the provider is asked to take a grant back.
REVOKE_FOR = timedelta(hours=23)
#: A storage that does not answer is back within seconds; so is whoever was faster than us.
PAUSE = timedelta(seconds=10)
TRIES = 4
#: What the status says of a run that was under way.
REASON = "disconnected"
#: Why a connection is parked whose grant is, for all we know, another member's account.
NOT_THEIRS = frozenset({"account_in_use", "different_account"})


@dataclass(frozen=True, slots=True)
class Departures:
    """Ends connections.  Works whatever the state of the grant and of the provider.

    A departure is a row of its own, with what there is to give back and to erase, under a name
    that says nothing.  It is written before the connection is changed, and a job to see it
    through is sent before that.  So a crash leaves the connection as it was, or a job that goes
    on from wherever things stand; and a job too many changes nothing.
    """

    providers: Mapping[ProviderName, Provider]
    connections: ConnectionStore
    departures: DepartureStore
    records: RecordStore
    erasure: Erasure
    revocation: Revocation
    cipher: Cipher
    queue: JobQueue
    clock: Clock
    dice: Dice
    mint: Mint

    def disconnect(self, user: UserId, provider: ProviderName) -> None:
        """End a member's connection, and keep the records; twice is fine.

        Raises ``NeverConnected`` where there is nothing to end.
        """
        for _ in range(TRIES):
            found = self.connections.find(user, provider)
            waiting = self.connections.any_pending(user, provider)
            if found is None and not waiting:
                raise NeverConnected("There is no connection to end.")
            if found is not None and _gone(found.value, waiting=waiting):
                return
            try:
                left = self._leave(found, user, provider, Status.DISCONNECTED)
            except LostRace:
                continue
            # They have left.  Whatever fails from here on is the job's.
            with suppress(StorageDown, LostRace):
                self._tidy(left)
            self._try_to_revoke(found)
            return
        raise LostRace("the connection changes too often")

    def erase(self, user: UserId, provider: ProviderName) -> Receipt | None:
        """End a member's connection, and delete everything; None where a job has to go on.

        Raises ``NeverConnected`` where nothing is kept of them.
        """
        for _ in range(TRIES):
            found = self.connections.find(user, provider)
            if found is None and not self._known(user, provider):
                raise NeverConnected("There is no connection to end, and no record to erase.")
            try:
                name = self._intend(found, user, provider)
            except LostRace:
                continue
            try:
                receipt = self._erase(name, user)
            except (Busy, StorageDown, LostRace) as error:
                # Somebody else is at it, or the job will be.
                event("erasure.deferred", ref=name, provider=provider, error=type(error).__name__)
                return None
            if receipt is not None:
                self._try_to_revoke(found)
            return receipt
        raise LostRace("the connection changes too often")

    def resume(self, job: LeaveJob) -> None:
        """See a departure through, from wherever it came to a halt."""
        try:
            try:
                self._resume(job)
            except (ProviderError, Busy, Unsealable) as error:
                self._again(job, error)
        except (StorageDown, LostRace):
            self.queue.defer(job, PAUSE)

    def _resume(self, job: LeaveJob) -> None:
        stored = self.departures.find(job.ref)
        if stored is None:
            event("departure.over", ref=job.ref)
            return
        departure, now = stored.value, self.clock()
        user = open_user(self.cipher, departure)
        found = self.connections.find(user, departure.provider)
        held = found.value if found else None
        if not _happened(departure, held):
            if now < departure.at + PATIENCE:
                self.queue.defer(job, RESUME_AFTER)
            else:
                self._drop(stored)
            return
        if departure.todo is Todo.ERASE and self._erase(job.ref, user) is None:
            self.queue.defer(job, timedelta(0))
            return
        if departure.todo is Todo.LOOK_AGAIN and now >= departure.at + LATE:
            self._look_again(stored, user)
        if departure.todo is Todo.NOTHING and held is not None:
            self._tidy(held)
        self.revocation.work(job.ref)
        self._close(job)

    def _close(self, job: LeaveJob) -> None:
        stored = self.departures.find(job.ref)
        if stored is None:
            return
        late = stored.value.at + LATE - self.clock()
        if stored.value.todo is Todo.LOOK_AGAIN:
            self.queue.defer(replace(job, attempt=0, waits=0), late)
        else:
            self._drop(stored)

    def _again(self, job: LeaveJob, error: ProviderError | Busy | Unsealable) -> None:
        """Come back later; give up on the grant, but never on an erasure, after a day."""
        now = self.clock()
        decision = recover(job, error, now=now, roll=self.dice())
        again, at = job, now + backoff.CAP
        if isinstance(decision, Retry) and isinstance(decision.job, LeaveJob):
            again, at = decision.job, decision.at
        stored = self.departures.find(job.ref)
        if stored is not None and stored.value.grant and at >= stored.value.at + REVOKE_FOR:
            self.departures.save(replace(stored.value, grant=None), stored.etag)
            alarm(
                "revocation.given_up",
                ref=job.ref,
                provider=stored.value.provider,
                error=type(error).__name__,
            )
            at = now
        self.queue.defer(again, at - now)

    def _intend(
        self, found: Stored[Connection] | None, user: UserId, provider: ProviderName
    ) -> Ref:
        """Write down that a member is to be erased; return the departure's name."""
        if found is None or found.value.status is not Status.ERASING:
            return self._leave(found, user, provider, Status.ERASING).departure
        name = found.value.departure
        if self.departures.find(name) is None:
            self._announce(name, user, provider, todo=Todo.ERASE)
        return name

    def _leave(
        self,
        found: Stored[Connection] | None,
        user: UserId,
        provider: ProviderName,
        status: Gone,
    ) -> Connection:
        """Announce a departure, then write it into the connection; may ``LostRace``."""
        held = found.value if found else None
        alive = held if held and not held.departed else None
        name = alive.departure if alive else Ref(self.mint())
        self._announce(
            name,
            user,
            provider,
            account=held.account if held else None,
            grant=alive.grant if alive and alive.reason not in NOT_THEIRS else None,
            todo=Todo.ERASE if status is Status.ERASING else Todo.NOTHING,
        )
        self._forget_waiting(user, provider)
        ref, now = Ref(self.mint()), self.clock()
        if held is None:
            left = placeholder(user, provider, status, departure=name, ref=ref, at=now)
        else:
            left = depart(held, status, departure=name, ref=ref, at=now)
        self.connections.put(left, found.etag if found else None)
        if alive:
            event("connection.disconnected", ref=alive.ref, provider=provider)
        return left

    def _forget_waiting(self, user: UserId, provider: ProviderName) -> None:
        """Forget the grants that wait.

        Before the connection is written: whoever turns one of them into a connection has then
        done so already, and our write loses, or will read what we have written.
        """
        for pending in self.connections.waiting(user, provider):
            name = Ref(pending.grant.id)
            self._announce(name, user, provider, grant=pending.grant, todo=Todo.NOTHING)
            self.connections.drop_pending(pending)

    def _announce(
        self,
        ref: Ref,
        user: UserId,
        provider: ProviderName,
        *,
        todo: Todo,
        account: AccountId | None = None,
        grant: SealedGrant | None = None,
    ) -> None:
        self.queue.defer(LeaveJob(ref), RESUME_AFTER)
        departure = Departure(
            ref=ref,
            provider=provider,
            user=seal_user(self.cipher, ref, provider, user),
            account=seal_account(self.cipher, ref, provider, account),
            grant=grant,
            at=self.clock(),
            todo=todo,
        )
        # Over one that came to nothing: the connection that it was about is as it was.
        former = self.departures.find(ref)
        self.departures.save(departure, former.etag if former else None)

    def _known(self, user: UserId, provider: ProviderName) -> bool:
        places = [Place(provider, user, one.name) for one in self.providers[provider].resources]
        return (
            self.connections.any_pending(user, provider)
            or any(self.records.head(place).etag is not None for place in places)
            or self.connections.mentioned(user, provider)
        )

    def _erase(self, ref: Ref, user: UserId) -> Receipt | None:
        """Delete for a while; None where something may be left."""
        stored = self.departures.find(ref)
        if stored is None:
            raise LostRace("this departure is over")
        departure = stored.value
        counts, whole = self.erasure.work(user, departure.provider, ref)
        rows = dict(Counter(departure.rows) + Counter(counts))
        if not whole:
            self.departures.save(replace(departure, rows=rows), stored.etag)
            return None
        # The receipt first: where we die in between, the next try finds it, and nothing else.
        receipt = self.departures.keep(Receipt(fingerprint(ref)[:32], self.clock(), rows))
        erased = replace(departure, rows={}, todo=Todo.LOOK_AGAIN)
        self.departures.save(erased, stored.etag)
        event("connection.erased", ref=ref, provider=departure.provider, dropped=sum(rows.values()))
        return receipt

    def _look_again(self, stored: Stored[Departure], user: UserId) -> None:
        """Delete what workers have written who were too late to know, unless it is in use again."""
        departure = stored.value
        provider, found = departure.provider, self.connections.find(user, departure.provider)
        own = found is not None and found.value.departure == departure.ref
        if own or (found is None and not self.connections.any_pending(user, provider)):
            counts, whole = self.erasure.work(user, provider, departure.ref)
            if sum(counts.values()):
                alarm(
                    "erasure.late_rows",
                    ref=departure.ref,
                    provider=provider,
                    dropped=sum(counts.values()),
                )
            if not whole:
                raise Busy(self.clock())
        self.departures.save(replace(departure, todo=Todo.NOTHING), stored.etag)

    def _tidy(self, left: Connection) -> None:
        """Make the refs lead nowhere, and end the runs that have lost their messages by that."""
        for ref in left.former:
            self.connections.drop_ref(ref)
        if left.status is not Status.DISCONNECTED:
            return
        for resource in self.providers[left.provider].resources:
            self._end_run(Place(left.provider, left.user, resource.name))

    def _end_run(self, place: Place) -> None:
        for _ in range(TRIES):
            stored = self.records.head(place)
            if stored.value.progress not in ACTIVE:
                return
            ended = replace(
                stored.value,
                progress=Progress.FAILED,
                reason=REASON,
                retry_at=None,
                touched_at=self.clock(),
                # Nobody's: a worker that still runs must not take it for its own.
                writer=None,
            )
            with suppress(LostRace):
                self.records.put_head(place, ended, stored.etag)
                return
        raise LostRace("the head of this resource changes too often")

    def _try_to_revoke(self, found: Stored[Connection] | None) -> None:
        """Give the grant of a connection that was left back at once, if that works at once."""
        if found is None or found.value.departed:
            return
        held = found.value
        if held.claim is not None and self.clock() < held.claim.until:
            # Whoever renews it right now brings the pair that can be given back.
            return
        ref = held.departure
        try:
            self.revocation.work(ref)
        except (ProviderError, Busy, Unsealable, StorageDown, LostRace) as error:
            event(
                "revocation.deferred",
                ref=ref,
                provider=held.provider,
                error=type(error).__name__,
            )

    def _drop(self, stored: Stored[Departure]) -> None:
        if stored.etag is not None:
            self.departures.drop(stored.value.ref, stored.etag)
        event("departure.over", ref=stored.value.ref, provider=stored.value.provider)


def _gone(held: Connection, *, waiting: bool) -> bool:
    # While they are erased, what waits is erased as well.
    return held.status is Status.ERASING or (held.departed and not waiting)


def _happened(departure: Departure, held: Connection | None) -> bool:
    """Say whether the connection shows that its member has left, or somebody has come since."""
    if held is None:
        return True
    own = held.departure == departure.ref
    if departure.todo is Todo.ERASE:
        return own and held.status is Status.ERASING
    return held.departed or not own
