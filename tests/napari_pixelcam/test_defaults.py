"""The form's defaults are those of the job that it starts."""

from napari_pixelcam.controllers.finetune import TuneSettings
from pixelcam.training import FinetuneSettings


def test_the_form_and_the_job_have_the_same_defaults(tmp_path):
    form, job = TuneSettings("new"), FinetuneSettings(tmp_path)
    assert (form.epochs, form.learning_rate) == (job.epochs, job.rate)
