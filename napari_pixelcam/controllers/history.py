"""Back to the seeds of an earlier save."""

from __future__ import annotations

from napari_pixelcam.controllers.workbench import WorkbenchController
from napari_pixelcam.keeping import kept_in, project_image


def restore(workbench: WorkbenchController, seq: int) -> None:
    """Make the seeds of the open image what they were after a save; that is a save too, and one undo step."""
    project, id, session = workbench.project, workbench.current, workbench.session
    record = session.record
    if project is None or id is None or record is None or project_image(record) != id:
        return
    workbench.seeds.flush()

    def done(ignored: object) -> None:
        if project is workbench.project and session.holds(record):
            workbench.seeds.replace(record, kept_in(project, id))
            workbench.refresh()

    session.background.submit(lambda task: project.restore(id, seq), done=done, failed=session.report)
