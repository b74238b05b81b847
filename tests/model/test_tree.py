"""The tree's arithmetic: the fixtures that were worked out by hand, and what holds for any plan."""

import itertools
import json

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from model.schedule import Schedule
from model.tree import Plan, _level_bounds, plan_tree

THREE = Schedule.parse("f(6,12,24)m(1,2,4)")


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    rates = draw(
        st.sampled_from(
            [
                (6, 12, 24),
                (6, 24),
                (24,),
                (12, 24),
                (3, 6, 12, 24),
                (8, 24),
                (2, 6, 24),
                (6, 12),
                (1,),
            ]
        )
    )
    segments = draw(st.tuples(*[st.integers(1, 9)] * (len(rates) - 1)))
    return Schedule(rates, (1, *segments))


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    schedule = draw(schedules())
    prefix = draw(st.sampled_from([0, 0, 1])) * (1 + schedule.strides[0] * draw(st.integers(0, 40)))
    frames = prefix + draw(st.integers(1, 700))
    asked = frames - max(prefix - 1, 0)
    assume(schedule.shortest < max(2 * asked, 601))  # others are refused, see below
    single = draw(st.sets(st.integers(prefix, frames - 1), max_size=4))
    return plan_tree(schedule, frames, prefix=prefix, given=single)


# -- worked out by hand -----------------------------------------------------------------------


def test_the_papers_default_is_seven_windows_of_121_frames() -> None:
    plan = plan_tree(THREE, 481)
    spans = [(n.id, n.rate, n.start, n.end) for n in plan.nodes]
    assert spans == [
        ("0.0", 6, 0, 480),
        ("1.0", 12, 0, 240),
        ("1.1", 12, 240, 480),
        ("2.0", 24, 0, 120),
        ("2.1", 24, 120, 240),
        ("2.2", 24, 240, 360),
        ("2.3", 24, 360, 480),
    ]
    assert {len(n.frames) for n in plan.nodes} == {121}
    assert {n.latent_count for n in plan.nodes} == {31}
    assert [n.steps for n in plan.nodes] == [50, 40, 40, 30, 30, 30, 30]
    assert plan.warnings == ()


@pytest.mark.parametrize(
    ("notation", "modulus"),
    [
        ("f(6,24)m(1,4)", 16),
        ("f(6,12,24)m(1,2,4)", 16),
        ("f(6,24)m(1,8)", 32),
        ("f(6,12,24)m(1,4,8)", 32),
        ("f(6,12,24)m(1,8,8)", 64),
    ],
)
def test_lengths_are_rounded_up_to_the_next_legal_one(notation: str, modulus: int) -> None:
    schedule = Schedule.parse(notation)
    for frames in range(modulus + 1, 5 * modulus, 7):
        expected = -(-(frames - 1) // modulus) * modulus + 1
        plan = plan_tree(schedule, frames)
        assert plan.end + 1 == expected
        for number in range(len(schedule.rates)):
            assert len({len(n.frames) for n in plan.level(number)}) == 1  # equal segments


@pytest.mark.parametrize(("asked", "planned"), [(121, 129), (500, 513), (481, 481), (601, 609)])
def test_lengths_of_the_paper(asked: int, planned: int) -> None:
    plan = plan_tree(THREE, asked)
    assert plan.end + 1 == planned
    assert sum(len(piece.frames) for piece in plan.output) == asked


def test_latents_per_segment_are_those_of_table_3() -> None:
    counts = {
        (text, frames): [
            plan_tree(Schedule.parse(text), frames).level(i)[0].latent_count
            for i in range(text.split("m")[0].count(",") + 1)
        ]
        for text in ("f(6,24)m(1,8)", "f(6,12,24)m(1,2,4)", "f(6,12,24)m(1,8,8)")
        for frames in (481, 121)
    }
    assert counts["f(6,12,24)m(1,2,4)", 481] == [31, 31, 31]
    assert counts["f(6,24)m(1,8)", 481] == [31, 16]
    assert counts["f(6,12,24)m(1,8,8)", 481] == [33, 9, 17]  # 513 frames
    assert counts["f(6,12,24)m(1,2,4)", 121] == [9, 9, 9]  # 129 frames: the fold needs them


def test_positions_are_quarters_of_the_last_frame_of_each_latent() -> None:
    plan = plan_tree(THREE, 481)
    assert plan.node("0.0").positions[:3] == (0, 4, 8)
    assert plan.node("1.1").positions[:3] == (60, 62, 64)
    assert plan.node("2.3").positions[:3] == (90, 91, 92)


def test_anchor_masks_fold_as_every_second_and_every_fourth_frame() -> None:
    halved = plan_tree(THREE, 481).node("2.1").frame_mask
    assert halved == tuple(k % 2 == 0 for k in range(121))
    quartered = plan_tree(Schedule.parse("f(6,24)m(1,4)"), 481).node("1.1").frame_mask
    assert quartered == tuple(k % 4 == 0 for k in range(121))


def test_the_frame_at_a_joint_is_the_left_ones_everywhere() -> None:
    plan = plan_tree(THREE, 481)
    left, right = plan.node("2.1"), plan.node("2.2")
    assert left.end == right.start == 240
    assert left.anchors[-1] == right.anchors[0]
    assert right.anchors[0].node == "1.0"
    assert right.dependencies == ("1.0", "1.1")
    assert [p.node for p in plan.output if 240 in p.frames] == ["2.1"]


def test_depth_first_finishes_the_first_leaf_after_one_node_of_each_level() -> None:
    order = [node.id for node in plan_tree(THREE, 481).depth_first()]
    assert order == ["0.0", "1.0", "2.0", "2.1", "1.1", "2.2", "2.3"]


def test_a_continuation_plans_only_what_is_new_below_the_root() -> None:
    plan = plan_tree(THREE, 601, prefix=121)
    root = plan.node("0.0")
    assert (root.start, root.end, len(root.frames)) == (0, 608, 153)
    assert [p.placed for p in root.given] == list(range(0, 121, 4))
    assert [(n.start, n.end) for n in plan.level(1)] == [(120, 360), (360, 600)]
    assert [(n.start, n.end) for n in plan.leaves] == [
        (120, 240),
        (240, 360),
        (360, 480),
        (480, 600),
    ]
    assert [p.asked for p in plan.leaves[0].given] == [120]
    assert (plan.output[0].first, plan.output[-1].last) == (121, 600)
    assert plan.warnings == ()


def test_segments_that_do_not_divide_evenly_differ_by_one_unit() -> None:
    plan = plan_tree(Schedule.parse("f(6,24)m(1,7)"), 481)
    assert plan.end == 480
    lengths = {n.end - n.start for n in plan.leaves}
    assert lengths == {68, 72}  # 120 units of 4 frames in 7 parts


def test_segments_may_straddle_two_of_the_level_above() -> None:
    plan = plan_tree(Schedule.parse("f(6,12,24)m(1,2,3)"), 481)
    assert [n.dependencies for n in plan.leaves] == [("1.0",), ("1.0", "1.1"), ("1.1",)]


def test_a_blueprint_alone_shows_every_fourth_frame() -> None:
    plan = plan_tree(Schedule.parse("f(6)m(1)"), 481)
    assert [len(p.frames) for p in plan.output] == [121]
    assert plan.node("0.0").spacing == 4


def test_an_image_is_a_video_of_one_frame() -> None:
    plan = plan_tree(Schedule.parse("f(24)m(1)"), 1)
    assert [len(n.frames) for n in plan.nodes] == [1]


# -- frames that the user gives ---------------------------------------------------------------


def test_a_frame_off_a_levels_grid_moves_to_the_nearest_and_is_recorded() -> None:
    plan = plan_tree(THREE, 500, given=[0, 499])
    assert [(p.level, p.asked, p.placed) for p in plan.placements if p.moved] == [
        (0, 499, 500),
        (1, 499, 500),  # 498 is as near, but the level above shows it at 500
    ]
    assert plan.leaves[-1].given[-1].placed == 499


def test_a_frame_whose_nearest_place_is_taken_waits_for_a_finer_level() -> None:
    plan = plan_tree(THREE, 481, given=[0, 1])
    by_level = {p.level: p.placed for p in plan.placements if p.asked == 1}
    assert by_level == {0: None, 1: 2, 2: 1}


def test_strict_refuses_a_frame_off_the_grid_and_names_one_that_is_on_it() -> None:
    with pytest.raises(ValueError, match=r"given=499.*6 fps.*give frame 500"):
        plan_tree(THREE, 500, given=[0, 499], strict=True)
    assert plan_tree(THREE, 481, given=[0, 480], strict=True).placements


# -- any plan ---------------------------------------------------------------------------------


@given(plans())
@settings(max_examples=150, deadline=None)
def test_every_output_frame_comes_from_exactly_one_leaf(plan: Plan) -> None:
    stride = plan.schedule.strides[-1]
    supplied = list(itertools.chain.from_iterable(piece.frames for piece in plan.output))
    wanted = [f for f in range(0, plan.frames, stride) if f >= plan.prefix]
    assert supplied == wanted
    leaves = {leaf.id: leaf for leaf in plan.leaves}
    assert all(set(piece.frames) <= set(leaves[piece.node].frames) for piece in plan.output)


@given(plans())
@settings(max_examples=150, deadline=None)
def test_anchors_are_the_frames_of_the_level_above_in_the_closed_interval(plan: Plan) -> None:
    for level in range(len(plan.schedule.rates)):
        above = plan.level(level - 1) if level else ()
        shown = {frame for node in above for frame in node.frames}
        for node in plan.level(level):
            inside = {f for f in shown if node.start <= f <= node.end}
            assert [a.frame for a in node.anchors] == sorted(inside)
            assert inside <= set(node.frames)
            assert all(a.frame in plan.node(a.node).frames for a in node.anchors)
            if level:  # the ends of every segment are held by the level above
                assert {node.start, node.end} <= inside


@given(plans())
@settings(max_examples=150, deadline=None)
def test_windows_fold_into_latents_and_positions_follow_their_frames(plan: Plan) -> None:
    for node in plan.nodes:
        frames = list(node.frames)
        assert len(frames) % 4 == 1
        assert (frames[0], frames[-1]) == (node.start, node.end)
        assert [4 * p for p in node.positions] == frames[::4]  # the last frame of each latent


@given(plans())
@settings(max_examples=100, deadline=None)
def test_siblings_are_independent_and_orders_respect_dependencies(plan: Plan) -> None:
    level = {node.id: node.level for node in plan.nodes}
    for node in plan.nodes:
        assert all(level[name] == node.level - 1 for name in node.dependencies)
    for order in (plan.breadth_first(), plan.depth_first()):
        place = {node.id: k for k, node in enumerate(order)}
        assert len(place) == len(order) == len(plan.nodes)
        for node in order:
            assert all(place[name] < place[node.id] for name in node.dependencies)


@given(plans())
@settings(max_examples=100, deadline=None)
def test_neighbours_share_one_frame_and_given_frames_keep_their_order(plan: Plan) -> None:
    for number in range(len(plan.schedule.rates)):
        row = plan.level(number)
        assert len(row) == plan.schedule.segments[number]
        assert all(a.end == b.start for a, b in itertools.pairwise(row))
        placed = [p.placed for p in plan.placements if p.level == number and p.placed is not None]
        assert placed == sorted(set(placed))
        for p in plan.placements:
            if p.level == number and p.placed is not None:
                assert abs(p.placed - p.asked) <= plan.schedule.strides[number] // 2


def test_a_plan_is_a_json_document() -> None:
    document = json.loads(json.dumps(plan_tree(THREE, 500, given=[0]).document()))
    assert document["schedule"]["notation"] == "f(6,12,24)m(1,2,4)"
    assert document["nodes"][1]["latents"] == 33


# -- what is refused, and warnings ------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["", "f(6,24)", "f()m()", "f(6,24)m(1,4) x", "m(1)f(24)", "f(,)m(1)", "f(6 12)m(1,2)",
     "f(6,,12)m(1,2)", "f(6,24)m(1,1e3)", f"f(6,24)m(1,{'9' * 5000})"]
)  # fmt: skip
def test_other_notations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"schedule=.* write the rates and the segments"):
        Schedule.parse(text)


def test_spaces_between_the_parts_mean_nothing() -> None:
    assert Schedule.parse(" f( 6 , 12,24 ) m(1, 2,4 ) ") == THREE


def test_more_segments_than_a_video_has_room_for_are_refused() -> None:
    many = Schedule.parse("f(6,24)m(1,9999)")
    with pytest.raises(ValueError, match=r"needs 39997 frames; plan with fewer segments"):
        plan_tree(many, 121)
    two_hundred = Schedule.parse("f(6,24)m(1,200)")
    with pytest.raises(ValueError, match="needs 801 frames"):
        plan_tree(two_hundred, 121)
    assert plan_tree(two_hundred, 801).end == 800
    with pytest.raises(ValueError, match="needs 3999999997 frames"):
        plan_tree(Schedule.parse("f(6,24)m(1,999999999)"), 121)
    # Twice is planned, more is not; and so is what is no longer than a round of a continuation.
    many = Schedule.parse("f(6,24)m(1,160)")
    assert plan_tree(many, 321).end == 640
    with pytest.raises(ValueError, match="needs 641 frames"):
        plan_tree(many, 320)
    with pytest.raises(ValueError, match="needs 761 frames"):
        plan_tree(many, 440, prefix=121)
    assert plan_tree(Schedule.parse("f(6,24)m(1,150)"), 5).end == 608


@given(schedules(), st.integers(1, 60), st.integers(0, 3))
@settings(max_examples=150, deadline=None)
def test_a_plan_ends_with_the_first_frame_that_leaves_no_segment_empty(
    schedule: Schedule, frames: int, prefix: int
) -> None:
    """Against trying one end after the other."""
    first = schedule.strides[0] * prefix
    below = schedule.moduli[1:] if first and schedule.moduli[1:] else schedule.moduli
    start = first if first and schedule.moduli[1:] else 0
    for end in itertools.count(first + frames - 1):
        if any((end - start) % modulus for modulus in below):
            continue
        rows = [[0, -(-end // schedule.moduli[0]) * schedule.moduli[0]]]
        for level in range(1, len(schedule.rates)):
            rows.append(schedule.boundaries(start, end, level, rows[-1]))
        if all(a < b for row in rows if len(row) > 2 for a, b in itertools.pairwise(row)):
            break
    assert _level_bounds(schedule, first + frames - 1, first) == rows


@pytest.mark.parametrize(
    ("rates", "segments", "said"),
    [
        ((6, 9), (1, 2), "9 is not a higher multiple of 6"),
        ((24, 6), (1, 2), "6 is not a higher multiple of 24"),
        ((8, 16), (1, 2), "top_rate=24"),
        ((6, 24), (1,), "give 2 numbers of segments"),
        ((6, 24), (1, 0), "each 1 or more"),
        ((6, 24), (2, 4), "blueprint"),
    ],
)
def test_schedules_that_cannot_be_planned(
    rates: tuple[int, ...], segments: tuple[int, ...], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        Schedule(rates, segments)


def test_steps_are_one_number_per_level() -> None:
    assert Schedule.parse("f(6,24)m(1,4)").steps == (50, 30)
    assert Schedule.parse("f(24)m(1)").steps == (50,)
    with pytest.raises(ValueError, match="give 2 numbers of steps"):
        Schedule.parse("f(6,24)m(1,4)", steps=[50])


def test_requests_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match=r"frames=121, prefix=121.*ask for 601"):
        plan_tree(THREE, 121, prefix=121)
    with pytest.raises(ValueError, match=r"prefix=120.*give the last 117 frames"):
        plan_tree(THREE, 601, prefix=120)
    with pytest.raises(ValueError, match=r"given=481.*from 0 to 480"):
        plan_tree(THREE, 481, given=[481])
    with pytest.raises(ValueError, match=r"node='3\.0'"):
        plan_tree(THREE, 481).node("3.0")


def test_a_window_longer_than_trained_is_planned_with_a_remedy_that_works() -> None:
    schedule = Schedule.parse("f(6,24)m(1,2)")
    plan = plan_tree(schedule, 481)
    (warning,) = plan.warnings
    assert "241 frames at 24 fps" in warning
    assert "divide that level into 4 segments" in warning
    assert plan_tree(Schedule.parse("f(6,24)m(1,4)"), 481).warnings == ()
    long = plan_tree(Schedule.parse("f(6,24)m(1,16)"), 1921)
    assert "481 frames at 6 fps" in long.warnings[0]
    assert "plan 577 frames" in long.warnings[0]
    assert plan_tree(Schedule.parse("f(6,24)m(1,16)"), 577).warnings == ()
