"""Cells run once, go on where they were interrupted, and fail alone."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from benchmarks.localization.commands import Places, evaluate_command, find_weights, train_command
from benchmarks.localization.plan import LITE0, MOBILENET, Plan, Row, chosen_rows, full_plan, quick_plan
from benchmarks.localization.run import Bench, targets
from benchmarks.localization.trained import curve_of, masks_seen, seconds_at_work
from pixelcam.events import Event
from pixelcam.jobs.run import Run
from pixelcam.teachers import TEACHERS
from pixelcam.training import TrainSettings


def run_all(plan, places, fake):
    bench = Bench(places, fake, report=lambda line: None)
    return [bench.run(cell) for cell in plan.cells()]


def test_rows_that_train_the_same_share_one_run(plan, places, fake):
    records = run_all(plan, places, fake)
    assert len(records) == 6
    assert fake.count("train") == 4, "the two teachers share a classifier on each of two folds"
    assert records[0]["run"] == records[1]["run"] != records[2]["run"]


def test_the_first_fold_of_every_row_comes_before_the_second_of_any(plan):
    assert [cell.fold for cell in plan.cells()] == [0, 0, 0, 1, 1, 1]


def test_finished_cells_are_not_run_again(plan, places, fake):
    first = run_all(plan, places, fake)
    number = len(fake.ran)
    assert run_all(plan, places, fake) == first
    assert len(fake.ran) == number


def test_an_interrupted_benchmark_goes_on_where_it_was(plan, places, fake):
    fake.interrupt_at = 6  # the second training
    with pytest.raises(KeyboardInterrupt):
        run_all(plan, places, fake)
    interrupted = fake.ran[5]
    assert interrupted[1] == "train"
    run_all(plan, places, fake)
    assert fake.ran[6] == interrupted
    finished = [tuple(command) for command in (*fake.ran[:5], *fake.ran[6:]) if command[1] == "train"]
    assert len(finished) == len(set(finished)) == 4, "a finished run was trained again"


def test_a_failure_is_recorded_in_its_cell_and_stops_nothing(plan, places, fake):
    fake.fail = {"grad-cam++": f"There is no teacher in {places.work}."}
    records = run_all(plan, places, fake)
    assert [record.get("failure") for record in records] == [None, "There is no teacher in $WORK.", None] * 2
    assert all("evaluations" in record for record in records if record["row"] != "Grad-CAM++")


def test_a_failed_cell_is_tried_again_and_the_run_that_it_shares_is_not(plan, places, fake):
    fake.fail = {"grad-cam++": "No."}
    run_all(plan, places, fake)
    fake.fail = {}
    trainings = fake.count("train")
    records = run_all(plan, places, fake)
    assert not any("failure" in record for record in records)
    assert fake.count("train") == trainings


def test_a_run_of_other_defaults_is_not_taken_for_the_rows_own(plan, places, fake):
    records = run_all(plan, places, fake)
    run = places.work / "runs" / records[2]["run"]
    settings = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**settings, "rate_joint": 7.0}))
    (places.work / "cells" / plan.cells()[2].name / "cell.json").unlink()
    record = Bench(places, fake, report=lambda line: None).run(plan.cells()[2])
    assert "rate_joint" in record["failure"]


def test_records_and_commands_name_no_folder_of_this_machine(plan, places, fake):
    records = run_all(plan, places, fake)
    text = json.dumps(records)
    for folder in (places.work, *places.roots.values()):
        assert str(folder) not in text
    assert str(places.roots["glas"]) in fake.ran[0]


def test_a_row_without_its_weights_fails_and_says_which_variable_names_them(places, fake):
    row = Row("MobileNet", encoder=MOBILENET, needs_weights=True, places=(("glas", "official"),))
    [record] = run_all(Plan("quick", (row,), folds={"glas": 1}), places, fake)
    assert "PIXELCAM_WEIGHTS_MOBILENETV2_100" in record["failure"]
    assert fake.ran == []


def test_weights_are_found_by_option_and_by_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("PIXELCAM_WEIGHTS_MOBILENETV2_100", str(tmp_path / "m.pt"))
    assert find_weights({})[MOBILENET] == tmp_path / "m.pt"
    assert find_weights({MOBILENET: tmp_path / "other.pt"})[MOBILENET] == tmp_path / "other.pt"


def test_commands_are_what_a_person_types(places):
    row = Row("x", {"levels": [-1, 2], "standardise": False, "output_stride": 8}, teacher="cam")
    row = replace(row, teacher_options={"teacher_scales": [1.0]})
    cell = Plan("quick", (row,), folds={"glas": 1}).cells()[0]
    places = Places(places.work, places.roots, {LITE0: places.work / "lite0.pth"})
    train = train_command(cell, places)
    assert train[:6] == ["pixelcam", "train", "--dataset", "glas", "--root", "$GLAS"]
    assert {"--levels=-1,2", "--no-standardise", "$WEIGHTS_TF_EFFICIENTNET_LITE0"} < set(train)
    evaluate = evaluate_command(cell, "mask-free", "ebhi", "test", fold=0, scheme="official")
    assert evaluate[-2:] == ["--json", "$RESULT"]
    assert evaluate[evaluate.index("--teacher") + 1] == "cam"
    assert "--teacher-scales=1.0" in evaluate
    assert places.resolve(evaluate, places.work / "r.json")[-1] == str(places.work / "r.json")


def test_a_row_of_four_views_measures_the_run_of_the_row_of_one():
    rows = (Row("once"), Row("steady", views=4))
    once, steady = Plan("quick", rows, folds={"glas": 1, "ebhi": 0}).cells()
    assert once.run == steady.run
    measured = [
        evaluate_command(each, "B-LOC", "glas", "valcl", fold=0, scheme="official") for each in (once, steady)
    ]
    assert "--views" not in measured[0]
    assert measured[1][measured[1].index("--views") + 1] == "4"


@pytest.mark.parametrize("plan", [quick_plan(), full_plan()], ids=["quick", "full"])
def test_every_setting_of_every_row_is_one_that_training_takes(plan):
    for cell in plan.cells():
        values = {"dataset": cell.dataset, "root": "x", "encoder": cell.row.encoder, **cell.settings}
        TrainSettings.from_dict(values)
        assert cell.row.teacher in (None, *TEACHERS)
    assert len({row.slug for row in plan.rows}) == len(plan.rows)


def test_rows_are_chosen_by_their_folder_names(plan):
    assert [row.name for row in chosen_rows(plan, ["grad-cam-pp"]).rows] == ["Grad-CAM++"]
    with pytest.raises(ValueError, match="choose among cam, grad-cam-pp, pixelcam"):
        chosen_rows(plan, ["gradcam"])


def test_only_splits_at_hand_are_measured(plan, places, tmp_path):
    from tests.synthetic import write_glas_like

    cell = plan.cells()[2]
    parts = [(target.dataset, target.split) for target in targets(cell, places)]
    assert parts == [("glas", "valcl"), ("glas", "test"), ("ebhi", "test")]
    held_back = Places(places.work, {"glas": write_glas_like(tmp_path / "glas", with_test=False)})
    assert [target.split for target in targets(cell, held_back)] == ["valcl"]


def test_a_teacher_by_itself_goes_across_from_its_first_fold_and_pixelcam_from_all(places):
    rows = (Row("CAM", teacher="cam", across=True), Row("PixelCAM", across=True))
    rows = tuple(replace(row, places=(("glas", "official"),)) for row in rows)
    cells = Plan("quick", rows, folds={"glas": 2}).cells()
    went = {
        (cell.row.name, cell.fold)
        for cell in cells
        if "ebhi" in [target.dataset for target in targets(cell, places)]
    }
    assert went == {("CAM", 0), ("PixelCAM", 0), ("PixelCAM", 1)}


def test_only_a_mask_free_figure_of_the_pixel_head_is_at_a_threshold_that_no_mask_chose(plan, places, fake):
    records = run_all(plan, places, fake)
    for record in records:
        for command in record["commands"][1:]:
            mask_free = "/last.safetensors" in " ".join(command)
            assert ("--threshold" in command) == (mask_free and record["teacher"] is None)


def test_time_between_sessions_is_not_time_at_work(plan, places, fake):
    records = run_all(plan, places, fake)
    events, _ = Run.open(places.work / "runs" / records[0]["run"]).events()
    assert seconds_at_work(events) == 120.0
    assert masks_seen(events) == 6
    assert records[0]["trained"]["seconds"] == 120.0


def test_a_curve_counts_the_epochs_of_all_stages_on():
    events = [
        Event("epoch", "classifier", epoch=4, epochs=4),
        Event("validation", "classifier", epoch=4, epochs=4, metrics={"valcl_accuracy": 80.0}),
        Event("validation", "joint", epoch=1, epochs=2, metrics={"valcl_accuracy": 1.0}),
        # That epoch was repeated after an interruption.
        Event(
            "validation", "joint", epoch=1, epochs=2,
            metrics={"valcl_accuracy": 85.0, "valpx_pxap": 60.0, "valpx_chance": 50.0},
        ),
        Event("validation", "joint-2", epoch=2, epochs=2, metrics={"valcl_accuracy": 90.0}),
    ]  # fmt: skip
    curve = curve_of(events)
    assert curve == {
        "epochs": [4, 5, 8],
        "pxap": [None, 60.0, None],
        "accuracy": [80.0, 85.0, 90.0],
        "chance": 50.0,
    }


def test_a_published_cell_counts_as_run_unless_its_commands_or_settings_were_others(plan, places, fake):
    records = json.loads(json.dumps(run_all(plan, places, fake)))
    elsewhere = replace(places, work=places.work / "elsewhere")
    cells = plan.cells()

    def known(published):
        bench = Bench(elsewhere, fake, report=lambda line: None, published=published)
        return [bench.read(cell) for cell in cells]

    assert known(records) == records
    assert known([]) == [None] * len(cells)
    records[0]["commands"][0].append("--half")
    records[1]["trained"]["settings"]["rate_joint"] = 7.0
    records[2]["failure"] = "No."
    assert known(records) == [None] * 3 + records[3:]


def test_the_device_is_told_to_the_commands_but_is_not_what_is_measured(plan, places, fake):
    bench = Bench(places, fake, report=lambda line: None, device="cuda")
    record = bench.run(plan.cells()[0])
    assert len(fake.ran) > 1
    assert all(each[-2:] == ["--device", "cuda"] for each in fake.ran)
    assert not any("--device" in command for command in record["commands"])
    assert Bench(places, fake, report=lambda line: None).read(plan.cells()[0]) == record


def test_a_cell_that_was_run_here_by_other_defaults_is_run_anew(plan, places, fake):
    run_all(plan, places, fake)
    bench, cell = Bench(places, fake, report=lambda line: None), plan.cells()[0]
    path = places.work / "cells" / cell.name / "cell.json"
    record = json.loads(path.read_text())
    assert bench.read(cell) == record
    record["trained"]["settings"]["rate_classifier"] = 7.0
    path.write_text(json.dumps(record))
    assert bench.read(cell) is None


def test_a_published_cell_from_before_eigen_maps_were_made_by_label_is_run_anew(plan, places, fake):
    records = json.loads(json.dumps(run_all(plan, places, fake)))
    for record in records:
        assert record["trained"]["settings"].pop("eigen_by_label") is True
    bench = Bench(replace(places, work=places.work / "elsewhere"), fake, published=records)
    found = {cell.row.name: bench.read(cell) is not None for cell in plan.cells()}
    assert found == {"CAM": True, "Grad-CAM++": True, "PixelCAM": False}


def test_choosing_rows_and_folds_runs_these_alone_and_leaves_the_others_in_the_table(
    plan, places, fake, tmp_path, monkeypatch
):
    pytest.importorskip("matplotlib", reason="the bench extra is not installed")
    from benchmarks.localization import __main__ as command

    monkeypatch.setattr("benchmarks.localization.commands.execute", fake)
    monkeypatch.setitem(command.PLANS, "quick", lambda: plan)

    def rows_of_table(*options):
        asked = ["--work", str(places.work), "--results", str(tmp_path), "--glas", str(places.roots["glas"])]
        assert command.main([*asked, *options]) == 0
        table = json.loads((tmp_path / "localization-quick.json").read_text())
        return [(cell["row"], cell["fold"]) for cell in table["cells"]]

    assert rows_of_table("--rows", "cam") == [("CAM", 0), ("CAM", 1)]
    ran = len(fake.ran)
    assert rows_of_table("--rows", "grad-cam-pp", "--folds", "1") == [
        ("CAM", 0),
        ("Grad-CAM++", 0),
        ("CAM", 1),
    ]
    assert all("evaluate" in each and "grad-cam++" in each for each in fake.ran[ran:])
