import dataclasses
from collections import deque
from collections.abc import Callable

import pytest

from tadka.stream.position import Position
from tadka.stream.transfer import BatchRef, Transfer, Uneven
from tadka.stream.wire import Kind
from tests.unit.stream.simulation import Rank, Scenario, Simulation, Worker, draw, resume

# 310 batches in 60 chunks of 1 to 9: 104 steps on each of 3 ranks, 2 of them padding.
SIZES = tuple(1 + (7 * chunk) % 9 for chunk in range(59))
LONG = Scenario(num_lanes=2, num_replicas=(2,), num_ranks=3, chunks=((*SIZES, 310 - sum(SIZES)),))
SHARED_MEMORY = 1000
BY_MESSAGE = 0


def change(scenario: Scenario, **changes: object) -> Scenario:
    return dataclasses.replace(scenario, **changes)  # type: ignore[arg-type]


def only_dealt(ref: BatchRef) -> bool:
    """Dealt to a rank that the coordinator has not heard of again."""
    return ref.step >= 0 and bool(ref.sent_to) and not ref.is_free


def kill_where(
    wanted: Callable[[BatchRef], bool], *, times: int, late: int | None = 0
) -> Callable[[Simulation], None]:
    """A script that kills the producer of a batch that is `wanted`."""

    def script(sim: Simulation) -> None:
        if sim.num_kills < times:
            for worker in sim.workers:
                known = sim.transfer._workers.get(worker.number)
                if known is not None and any(wanted(ref) for ref in known.held.values()):
                    sim.kill(worker, late=late)
                    return

    return script


def ranks_steps(sim: Simulation) -> list[int]:
    return [sum(map(len, rank.trained.values())) for rank in sim.ranks]


# -- anybody, at any time


@pytest.mark.parametrize("block", range(16))
def test_random_runs_train_every_batch_once_and_in_order_and_leave_nothing_behind(
    block: int,
) -> None:
    for seed in range(block * 25, (block + 1) * 25):
        scenario = draw(seed)
        sim = Simulation(scenario).run()
        if sim.saved:  # the whole job ends here; another goes on from what was saved last
            Simulation(resume(scenario, sim.saved[-1], seed)).run()


@pytest.mark.parametrize("num_places", [BY_MESSAGE, 2, SHARED_MEMORY])
def test_a_worker_may_be_killed_at_any_turn(num_places: int) -> None:
    scenario = Scenario(
        num_replicas=(2, 1),
        num_ranks=2,
        chunks=((2, 0, 3, 1),),
        fans=((1,), (1, 2)),
        num_credits=2,
        num_places=num_places,
    )
    num_turns = Simulation(scenario).run().turn
    num_kills = 0
    for turn in range(num_turns):

        def kill_now(sim: Simulation, turn: int = turn) -> None:
            ready = [worker for worker in sim.workers if worker.is_started]
            if sim.turn >= turn and not sim.num_kills and ready and not sim.is_over():
                sim.kill(ready[turn % len(ready)])

        num_kills += Simulation(scenario, kill_now).run().num_kills
    assert num_kills > 0.8 * num_turns  # at the very end nobody is left to be killed


def test_the_order_is_the_same_with_any_number_of_workers_and_any_kills() -> None:
    alone = change(LONG, num_ranks=1, num_replicas=(1,))
    expected = Simulation(alone).run().ranks[0].trained
    for num_replicas in (2, 5):
        many = change(alone, num_replicas=(num_replicas,), num_kills=8, kill_share=0.02)
        sim = Simulation(many).run()
        assert sim.num_kills == 8
        assert sim.ranks[0].trained == expected


# -- the table of stories that the protocol must stand


@pytest.mark.parametrize("late", [0, 400])
def test_a_batch_lost_between_its_announcement_and_its_fetch_is_made_again(late: int) -> None:
    sim = Simulation(LONG, kill_where(only_dealt, times=1, late=late)).run()
    assert sim.num_kills == 1
    assert sim.transfer.num_reissued >= 1
    assert ranks_steps(sim) == [104, 104, 104]
    assert sim.transfer.num_padded == 2


@pytest.mark.parametrize("late", [0, 400, None])
def test_whoever_makes_a_lost_batch_again_may_be_killed_as_well(late: int | None) -> None:
    def is_it(ref: BatchRef) -> bool:
        return only_dealt(ref) and (ref.chunk.index, ref.seq) == (4, 0)

    scenario = change(LONG, num_replicas=(4,))
    sim = Simulation(scenario, kill_where(is_it, times=3, late=late)).run()
    assert sim.num_kills == 3
    assert sim.num_leased[0, 4] >= 4
    assert ranks_steps(sim) == [104, 104, 104]


def test_survivors_finish_when_no_replacement_comes() -> None:
    scenario = change(LONG, num_lanes=4, num_replicas=(4, 4), fans=((1,), (1,)), num_credits=1)

    def kill_most(sim: Simulation) -> None:
        for stage in (0, 1):
            alive = [worker for worker in sim.workers if worker.stage == stage]
            if sim.transfer.num_steps == 0 and sim.turn > 300 and len(alive) > 1:
                sim.kill(alive[-1], late=None)

    sim = Simulation(scenario, kill_most).run()
    assert sim.num_kills == 6
    assert len(sim.workers) == 2


@pytest.mark.parametrize(("num_places", "num_leases"), [(BY_MESSAGE, 2), (SHARED_MEMORY, 1)])
def test_batches_left_by_a_worker_that_was_done_are_made_again_unless_in_shared_memory(
    num_places: int, num_leases: int
) -> None:
    def is_unread_and_done(ref: BatchRef) -> bool:
        return ref.chunk.lease is None and only_dealt(ref)

    scenario = change(LONG, num_places=num_places, num_credits=16)
    sim = Simulation(scenario, kill_where(is_unread_and_done, times=1, late=50)).run()
    assert sim.num_kills == 1
    if num_places == BY_MESSAGE:
        assert max(sim.num_leased.values()) == num_leases
    assert ranks_steps(sim) == [104, 104, 104]


def test_what_a_paused_worker_says_under_a_revoked_lease_is_dropped() -> None:
    scenario = change(LONG, num_replicas=(1, 2), fans=((1,), (1,)), num_credits=16)

    def kill_after_the_pause_began(sim: Simulation) -> None:
        reader = next(worker for worker in sim.workers if worker.stage == 0)
        # It has announced batches that nobody has heard of, and reads no more messages.
        if sim.num_kills < 5 and any(kind is Kind.OUT for kind, _ in reader.up):
            reader.paused_until = sim.turn + 50
            for worker in sim.workers:
                if worker.stage == 1 and worker.leases and sim.num_kills < 5:
                    sim.kill(worker)

    sim = Simulation(scenario, kill_after_the_pause_began).run()
    assert sim.num_kills == 5
    assert sim.transfer.num_stale > 0


def test_a_slow_rank_never_has_more_in_flight_than_credits_allow() -> None:
    scenario = Scenario(
        num_replicas=(2,), chunks=((50,) * 12,), num_credits=3, num_places=SHARED_MEMORY
    )
    deepest = 0

    def look(sim: Simulation) -> None:
        nonlocal deepest
        sim._weights[1] = 0.001
        deepest = max(deepest, sim.transfer.depths[0], len(sim.held()))

    Simulation(scenario, look).run()
    # Per worker 3, and one for each other lease; 4 chunks may be open at a time.
    assert 4 <= deepest <= 2 * 3 + 4 + 1


@pytest.mark.parametrize("uneven", ["pad", "drop", "repeat"])
@pytest.mark.parametrize(
    "chunks",
    [((),), ((0, 0, 0),), ((1,),), ((0, 1, 0),), ((0,), (), (2, 0)), ((1,), (4,), (0,), (5,))],
)
def test_empty_chunks_and_epochs_and_fewer_batches_than_ranks_end_cleanly(
    uneven: Uneven, chunks: tuple[tuple[int, ...], ...]
) -> None:
    for seed in range(5):
        Simulation(Scenario(seed=seed, num_ranks=4, chunks=chunks, uneven=uneven)).run()


def test_ranks_that_do_not_wait_for_each_other_get_the_same_batches() -> None:
    scenario = change(LONG, has_barrier=False, save_share=0.5, num_kills=3, kill_share=0.01)

    def let_the_first_run_ahead(sim: Simulation) -> None:
        sim._weights[1], sim._weights[2] = 3.0, 0.05

    assert ranks_steps(Simulation(scenario, let_the_first_run_ahead).run()) == [104] * 3


@pytest.mark.parametrize(("uneven", "steps"), [("pad", 104), ("repeat", 104), ("drop", 103)])
def test_all_ranks_take_equally_many_steps(uneven: Uneven, steps: int) -> None:
    sim = Simulation(change(LONG, uneven=uneven)).run()
    assert ranks_steps(sim) == [steps] * 3
    assert sim.transfer.num_steps == steps


@pytest.mark.parametrize("uneven", ["pad", "drop"])
def test_any_position_can_be_resumed_with_other_workers_and_ranks(uneven: Uneven) -> None:
    chunks = (LONG.chunks[0][:12], (3, 0, 2))
    scenario = change(LONG, chunks=chunks, uneven=uneven, num_kills=2, kill_share=0.01)
    saved = Simulation(change(scenario, save_share=1.0)).run().saved
    assert len(saved) > 20
    for index, point in enumerate(saved):
        begin = Simulation(resume(scenario, point, index)).run()
        for again in begin.saved[-1:]:
            Simulation(resume(begin.scenario, again, index)).run()


def test_the_position_counts_what_is_trained_and_not_what_is_dealt() -> None:
    sim = Simulation(LONG).run()
    inside = [point for point in sim.saved if point.position.epoch == point.epoch]
    assert inside
    assert all(point.position.step == point.num_trained for point in inside)


def test_parts_that_are_written_are_not_made_again() -> None:
    done = frozenset({0, 3, 4, 59})
    scenario = change(LONG, num_ranks=0, done_chunks=done, num_replicas=(2, 2), fans=((1,), (2,)))
    sim = Simulation(scenario).run()
    assert sorted(sim.transfer.chunks_written) == [c for c in range(60) if c not in done]
    assert {chunk for _, chunk in sim.num_leased} == set(sim.transfer.chunks_written)
    Simulation(change(scenario, num_kills=10, kill_share=0.01, num_places=2)).run()


def test_a_part_all_of_which_is_written_already_ends_at_once() -> None:
    scenario = change(LONG, num_ranks=0, done_chunks=frozenset(range(60)))
    assert Simulation(scenario).run().num_leased == {}


# -- what once hung


@pytest.mark.parametrize("uneven", ["pad", "drop"])
def test_more_ranks_than_credits_do_not_hang(uneven: Uneven) -> None:
    """In a step all ranks wait for each other, so none can acknowledge the first batches."""
    for seed in range(10):
        scenario = change(
            LONG, seed=seed, num_lanes=1, num_replicas=(1,), num_ranks=7, num_credits=1
        )
        Simulation(change(scenario, chunks=(LONG.chunks[0][:9],), uneven=uneven)).run()


def test_a_rank_that_waits_for_others_may_keep_acknowledgements_back() -> None:
    """Ranks gather acknowledgements, and tell none inside a step."""

    def hoard(sim: Simulation) -> None:
        for rank in sim.ranks[:-1]:
            rank.num_acked = max(rank.num_acked, rank.rounds - 3)

    scenario = change(LONG, num_credits=2, num_replicas=(1,))
    assert ranks_steps(Simulation(scenario, hoard).run()) == [104] * 3


@pytest.mark.parametrize("seed", range(8))
def test_the_batch_to_pad_with_may_be_lost_before_the_epoch_is_known_to_be_over(
    seed: int,
) -> None:
    scenario = Scenario(seed=seed, num_ranks=4, chunks=((1, 1, 0, 0, 0), (2,)), late=None)

    def is_last(ref: BatchRef) -> bool:
        return ref.chunk.epoch == 0 and ref.step == 1

    sim = Simulation(scenario, kill_where(is_last, times=2, late=60)).run()
    assert ranks_steps(sim) == [2, 2, 2, 2]


@pytest.mark.parametrize("seed", range(8))
def test_a_batch_that_is_lost_and_then_dropped_leaves_nothing_behind(seed: int) -> None:
    scenario = Scenario(seed=seed, num_ranks=3, chunks=((2, 2, 0, 0),), uneven="drop")

    def is_over(ref: BatchRef) -> bool:
        return ref.step == 3

    sim = Simulation(scenario, kill_where(is_over, times=2, late=60)).run()
    assert ranks_steps(sim) == [1, 1, 1]


def test_a_worker_whose_shared_memory_was_full_takes_both_kinds_of_batches_back() -> None:
    """One batch in memory behind one that died with its producer: the chunk is made again."""
    for seed in range(30):
        scenario = change(LONG, seed=seed, num_places=2, num_kills=6, kill_share=0.03, late=40)
        assert Simulation(scenario).run().num_kills == 6


# -- one call at a time


def start(**changes: object) -> Transfer:
    options: dict[str, object] = {
        "num_lanes": 1,
        "num_replicas": [1],
        "num_ranks": 1,
        "num_epochs": 1,
        "num_chunks": lambda epoch: 9,
    }
    transfer = Transfer(**{**options, **changes})  # type: ignore[arg-type]
    transfer.add_rank(1, 0)
    transfer.add_worker(2, 0)
    transfer.start()
    return transfer


def leases(transfer: Transfer) -> deque[list[int]]:
    messages = transfer.take_messages().get(2, [])
    return deque(message.values for message in messages if message.kind is Kind.LEASE)


def test_no_more_chunks_are_leased_than_a_group_and_one_for_each_reader() -> None:
    assert [lease[2] for lease in leases(start())] == [0, 1]
    assert [lease[2] for lease in leases(start(num_lanes=3))] == [0, 1, 2, 3, 4, 5]


def test_the_death_of_a_worker_tells_which_chunks_it_had() -> None:
    transfer = start()
    assert [chunk.index for chunk in transfer.on_death(2)] == [0, 1]


def test_answers_for_batches_nobody_knows_are_ignored() -> None:
    transfer = start()
    transfer.on_taken([2, 77, 99, 0])
    transfer.on_gone([2, 77, 99, 0])
    assert transfer.depths == [0]


def test_a_lease_is_repeated_from_the_first_final_batch_that_is_missing() -> None:
    transfer = start()
    token = leases(transfer)[0][0]
    for seq in range(3):
        transfer.on_out(2, [token, seq, 10, 100, seq, 0])
    transfer.on_death(2)
    transfer.add_worker(2, 0)
    assert [(lease[2], lease[5]) for lease in leases(transfer)] == [(0, 3), (1, 0)]


def test_messages_under_a_token_that_is_not_valid_give_credit_and_memory_back() -> None:
    transfer = start()
    transfer.take_messages()
    transfer.on_out(2, [99, 0, 10, 100, 5, 0])
    assert transfer.num_stale == 1
    assert [m.values for m in transfer.take_messages()[2] if m.kind is Kind.BACK] == [[10, 11]]
    transfer.on_done(2, 99, 1, 0, has_failed=False)
    assert transfer.num_stale == 2


def test_batches_behind_a_lost_one_are_given_up_wherever_they_are() -> None:
    """The first found no place in shared memory, the second did; the chunk is made again."""
    transfer = start(num_lanes=2)
    token = leases(transfer)[1][0]
    transfer.on_out(2, [token, 0, 10, 100, 0, -1, token, 1, 10, 100, 1, 0])
    assert transfer.depths == [2]
    transfer.on_death(2)
    assert transfer.depths == [0]
    assert [m.kind for m in transfer.take_messages()[2]] == [Kind.RETIRE]


def test_padding_keeps_its_place_for_a_batch_that_has_to_be_made_again() -> None:
    transfer = Transfer(
        num_lanes=1, num_replicas=[2], num_ranks=2, num_epochs=1, num_chunks=lambda epoch: 2
    )
    for rank, worker in enumerate((10, 11)):
        transfer.add_rank(worker, rank)
    for worker in (2, 3):
        transfer.add_worker(worker, 0)
    transfer.start()
    token = leases(transfer)[0][0]
    transfer.on_out(2, [token, 0, 10, 100, 0, -1])
    transfer.on_done(2, token, 1, 0, has_failed=False)
    transfer.take_messages()
    transfer.on_death(2)
    transfer.on_done(3, token + 1, 0, 0, has_failed=False)  # the other chunk: the epoch is over
    messages = transfer.take_messages()
    assert [message.kind for message in messages[11]] == [Kind.IN, Kind.EPOCH]
    transfer.on_out(3, [token + 2, 0, 10, 100, 0, -1])
    again = transfer.take_messages()
    assert [message.kind for message in again[10]] == [Kind.PEER, Kind.IN]
    assert again[11][1].values[-2:] == messages[11][0].values[-2:] == [0, 1]


def test_positions_before_the_acknowledged_one_are_forgotten() -> None:
    transfer = start()
    token = leases(transfer)[0][0]
    for seq in range(5):
        transfer.on_out(2, [token, seq, 10, 100, seq, 0])
    transfer.on_ack(0, 0, 3)
    assert transfer.position(0, 3) == Position(epoch=0, step=3, group=0, lane=0, lanes=((0, 3),))
    assert transfer.position(0, 2) is None


def test_the_simulation_has_workers_and_ranks() -> None:
    sim = Simulation(LONG)
    assert [type(process) for process in sim.processes.values()] == [Rank] * 3 + [Worker] * 2
