"""`pixelcam review report`: one page, while others may be at work."""

from pixelcam.review import Project


def test_a_project_that_others_work_in_is_reported(command, tissue, tmp_path):
    with Project.create(tmp_path / "project", reviewer="Ann", name="Colon") as project:
        project.add_images([tissue])
        ending = command("review", "report", tmp_path / "project", "--out", tmp_path / "page" / "report.html")
        assert (ending.code, ending.out, ending.err) == (0, "", "")
    assert "<h3>tissue</h3>" in (tmp_path / "page" / "report.html").read_text()


def test_what_is_no_project_is_one_sentence_and_no_page(command, tmp_path):
    ending = command("review", "report", tmp_path, "--out", tmp_path / "report.html")
    assert ending.failed_with("holds no project")
    assert not (tmp_path / "report.html").exists()
