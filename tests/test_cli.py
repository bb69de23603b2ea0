"""The command: one line per error, the right exit code, and a training that a signal cannot spoil."""

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from maskwright import __version__
from maskwright.cli import COMMANDS, main
from maskwright.data.catalog import DataConfig
from maskwright.engine.config import RefinerRunConfig, SegmenterRunConfig, TrainConfig
from maskwright.engine.run import RunFolder, read_config
from maskwright.models import ModelConfig

RECIPES = sorted((Path(__file__).parent.parent / "recipes").glob("*.yaml"))

TINY = ["--model", "unet", "--model.options", "{width: 4}", "--train.batch_size", "2", "--train.device", "cpu"]


def printed_config(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    """Return the settings that a command line stands for."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--print_config"])
    assert caught.value.code in (0, None)
    return yaml.safe_load(capsys.readouterr().out)


def assert_one_line(capsys: pytest.CaptureFixture[str], *words: str) -> None:
    output = capsys.readouterr()
    assert output.out == ""
    assert len(output.err.strip().splitlines()) == 1, output.err
    assert output.err.startswith("maskwright: ")
    for word in words:
        assert word in output.err


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["-h"]):
        assert main(arguments) == 0
        text = capsys.readouterr().out
        assert all(re.search(rf"^  {name} ", text, re.MULTILINE) for name in COMMANDS)
    assert main([]) == 2
    assert main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_its_options(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    output = capsys.readouterr()
    assert f"maskwright {command}" in output.out and ("--out" in output.out or command == "models")
    assert "Traceback" not in output.out + output.err and output.err == ""


def test_help_does_not_load_torch() -> None:
    code = "import sys; from maskwright.cli import main; main(['--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_an_unknown_command_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 2
    assert_one_line(capsys, "trian", "did you mean train?")
    assert main(["xyzzy"]) == 2
    assert_one_line(capsys, "xyzzy", "predict")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["train", "--data", "folder:x", "--train.epoch", "3"], "epoch"),
        (["train", "--data", "folder:x", "--train.epochs", "many"], "epochs"),
        (["train", "--data", "folder:x", "--train.epochs", "0"], "epochs must be at least 1"),
        (["train", "--data", "folder:x", "--train.optimizer", "adamax"], "adamax"),
        (["train", "--data", "folder:x", "--data.size", "-1"], "size"),
        (["train", "--config", "no/such.yaml"], "no/such.yaml"),
        (["train"], "--data"),
        (["train-refiner", "--refiner", "cspn"], "coarse"),
        (["train-refiner", "--coarse", "x", "--refiner", "crf"], "crf"),
        (["train-refiner", "--coarse", "x", "--folds", "1"], "folds"),
        (["predict", "--images", "x"], "out"),
        (["predict", "--images", "x", "--out", "x"], "--run"),
        (["predict", "--run", "x", "--images", "x", "--out", "x", "--save", "masks"], "masks"),
        (["predict", "--run", "no_run", "--images", "x", "--out", "x"], "no_run"),
        (["refine", "--refiner", "no_run", "--images", "x", "--masks", "x", "--out", "x"], "no_run"),
        (["refine", "--size", "big"], "size"),
        (["refine", "--method", "crf", "--images", "x", "--masks", "x", "--out", "x"], "unknown method"),
        (
            ["refine", "--refiner", "x", "--method", "none", "--images", "x", "--masks", "x", "--out", "x"],
            "both refiner",
        ),
        (["refine", "--method", "crf", "--images", "x", "--masks", "x", "--out", "x"], "dense_crf"),
        (["evaluate", "--predictions", "no_folder", "--targets", "no_folder", "--out", "x"], "no_folder"),
        (["evaluate", "--predictions", "x", "--out", "x"], "expected --targets"),
        (["evaluate", "--predictions", "x", "--targets", "x", "--data", "pets:x", "--out", "x"], "not both"),
        (["evaluate", "--predictions", "x", "--targets", "x", "--border", "both", "--out", "x"], "--data pets"),
        (["evaluate", "--predictions", "x", "--data", "pets:x", "--classes", "c.yaml", "--out", "x"], "--classes"),
        (["evaluate", "--predictions", "x", "--data", "pets:x", "--border", "open", "--out", "x"], "border"),
        (["evaluate", "--predictions", "x", "--data", "pts:x", "--out", "x"], "pts:x"),
        (["cluster", "--out", "x"], "images"),
        (["cluster", "no_folder", "--out", "x"], "no_folder does not exist"),
        (["cluster", "x"], "out"),
        (["report"], "runs"),
        (["report", "no_run"], "no_run"),
        (["demo", "--scenes", "3"], "scenes"),
        (["models", "unett"], "unet"),
        (["models", "unet", "--size", "0"], "size"),
        (["models", "unet", "--options", "{widht: 3}"], "widht"),
    ],
    ids=lambda value: " ".join(value[:4]) if isinstance(value, list) else "",
)
def test_a_wrong_command_line_is_one_line_and_exit_2(
    arguments: list[str], word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert_one_line(capsys, word)


@pytest.mark.parametrize("content", ["train: {epoch: 3}", "train: [", "colour: red", "- 1", ""])
def test_a_wrong_configuration_file_is_one_line_and_exit_2(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(content)
    assert main(["train", "--config", "mine.yaml"]) == 2
    assert_one_line(capsys)


def test_short_options_are_the_long_ones(capsys: pytest.CaptureFixture[str]) -> None:
    pairs = [
        (["train", "--data", "folder:X"], ["train", "--data.name", "folder:X"]),
        (["train", "--data=folder:X=Y"], ["train", "--data.name", "folder:X=Y"]),
        (["train", "--data", "pets", "--model", "smp:Unet/resnet34"],
         ["train", "--data.name", "pets", "--model.name", "smp:Unet/resnet34"]),
        (["train-refiner", "--coarse", "x", "--refiner", "cspn"],
         ["train-refiner", "--coarse", "x", "--refiner.kind", "cspn"]),
    ]  # fmt: skip
    for short, long in pairs:
        found = printed_config(short, capsys)
        assert found == printed_config(long, capsys)
        assert "folder:X" in str(found) or short[0] != "train" or "pets" in str(found)


def test_a_configuration_file_is_overridden_by_what_follows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("data: {name: 'folder:X', size: 32}\ntrain: {epochs: 3, loss: {dice: 1}}\n")
    found = printed_config(["train", "--config", str(path), "--data", "folder:Y", "--train.epochs", "4"], capsys)
    assert found["data"]["name"] == "folder:Y" and found["data"]["size"] == 32  # type: ignore[index]
    assert found["train"]["epochs"] == 4 and found["train"]["loss"] == {"dice": 1.0}  # type: ignore[index]


def test_what_print_config_prints_is_a_configuration_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "--data", "folder:X", "--train.loss", "{dice: 2}", "--data.augment.rotation", "5"]
    first = printed_config(arguments, capsys)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(first))
    assert printed_config(["train", "--config", str(tmp_path / "mine.yaml")], capsys) == first


def test_defaults_of_the_command_are_those_of_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    found = printed_config(["train", "--data", "folder:X"], capsys)
    from dataclasses import asdict

    assert found["data"] == asdict(DataConfig(name="folder:X"))
    assert found["model"] == asdict(ModelConfig())
    assert found["train"] == asdict(TrainConfig())
    refiner = printed_config(["train-refiner", "--coarse", "x"], capsys)
    expected = asdict(RefinerRunConfig(coarse="x"))
    assert {name: refiner[name] for name in expected} == expected


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_parsed_by_the_command_that_its_header_names(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(recipe.parent.parent)
    header = [line.lstrip("# ") for line in recipe.read_text().splitlines() if line.startswith("#")]
    commands = [shlex.split(line, comments=True) for line in header if line.startswith("maskwright ")]
    own = [words for words in commands if f"recipes/{recipe.name}" in words]
    assert own, "the header names no command with this recipe"
    for words in own:
        found = printed_config(words[1:], capsys)
        stored = yaml.safe_load(recipe.read_text())
        assert set(stored) <= set(found)


def test_ctrl_c_outside_a_training_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*a: object, **k: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("maskwright.engine.predict.predict_folder", interrupted)
    assert main(["predict", "--run", "r", "--images", "i", "--out", "o"]) == 130
    assert_one_line(capsys, "stopped")


def test_predict_refine_and_report_say_what_they_wrote(
    trained_run: Path, refined_run: Path, squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, out = str(squares / "test" / "images"), tmp_path / "masks"
    assert main(["predict", "--run", str(trained_run), "--images", images, "--out", str(out)]) == 0
    assert f"3 masks in {out}" in capsys.readouterr().out
    masks = ["--images", images, "--masks", str(out), "--out", str(tmp_path / "refined")]
    assert main(["refine", "--refiner", str(refined_run), *masks]) == 0
    assert f"3 refined masks in {tmp_path / 'refined'}" in capsys.readouterr().out
    for method in ("guided", "none"):
        refined = tmp_path / method
        assert main(["refine", "--method", method, *masks[:-1], str(refined), "--save", "probabilities"]) == 0
        assert f"3 refined masks in {refined}" in capsys.readouterr().out
        assert json.loads((refined / ".maskwright.json").read_text())["method"] == method
    page = tmp_path / "page.html"
    assert main(["report", str(trained_run), str(refined_run), "--out", str(page)]) == 0
    text = capsys.readouterr().out
    assert "3 images" in text and "DySPN" in text and f"report: {page}" in text


def test_models_lists_models_and_their_layers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--size", "64", "--json", str(tmp_path / "all.json")]) == 0
    text = capsys.readouterr().out
    stored = json.loads((tmp_path / "all.json").read_text())
    for model in stored["models"]:
        assert model["name"] in text and f"{model['macs'] / 1e9:.2f}" in text and "layers" not in model
    assert "smp:ARCHITECTURE/ENCODER" in text and "12 architectures" in text and "hf:REPO" in text
    options = ["--options", "{width: 4}", "--classes", "2", "--channels", "4", "--json", str(tmp_path / "one.json")]
    assert main(["models", "unet", "--size", "64", *options]) == 0
    text = capsys.readouterr().out
    stored = json.loads((tmp_path / "one.json").read_text())
    assert f"{stored['parameters']:,}" in text and "1×4×64×64" in text
    assert all(layer["path"] in text for layer in stored["layers"])
    assert (stored["classes"], stored["channels"], stored["layers"][-1]["output"]) == (2, 4, [1, 1, 64, 64])


def test_report_scores_boundaries_where_asked(
    trained_run: Path, refined_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [shutil.copytree(run, tmp_path / run.name) for run in (trained_run, refined_run)]
    page = tmp_path / "page.html"
    report = ["report", *map(str, runs), "--out", str(page)]
    assert main(report) == 0
    assert "Boundary IoU" not in capsys.readouterr().out + page.read_text(encoding="utf-8")
    assert main([*report, "--boundary"]) == 0
    assert "Boundary IoU" in capsys.readouterr().out and "At the edge" in page.read_text(encoding="utf-8")
    # The scores are kept with the runs, and shown where every stage has them.
    assert main(report) == 0
    assert "Boundary IoU" in capsys.readouterr().out
    (runs[1] / "evaluation.json").unlink()
    assert main(report) == 0
    assert "Boundary IoU" not in capsys.readouterr().out + page.read_text(encoding="utf-8")


def test_train_refiner_ends_with_scores_and_a_page(
    trained_run: Path, refined_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    small = ["--refiner.steps", "1", "--refiner.width", "4", "--refiner.levels", "1"]
    training = ["--train.epochs", "1", "--train.batch_size", "2", "--train.device", "cpu"]
    options = ["--coarse", str(trained_run), "--refiner", "cspn", *small, *training, "--out", str(out)]
    assert main(["train-refiner", *options]) == 0
    assert {"coarse", "CSPN"} <= set(capsys.readouterr().out.split())
    assert (out / "report.html").is_file()


def test_data_without_a_part_to_score_still_ends_well(
    squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # `data.val_fraction 0` is documented: "holds out nothing, and the last weights are kept".
    data = ["--data", f"folder:{squares / 'train'}", "--data.val_fraction", "0"]
    code = main(["train", *data, *TINY, "--train.epochs", "1", "--out", str(tmp_path / "run")])
    assert (tmp_path / "run" / "model.safetensors").is_file()
    assert code == 0, capsys.readouterr().err


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 200
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate(timeout=1)
        time.sleep(0.01)


@pytest.mark.timeout(300)
def test_sigterm_while_training_is_143_and_the_same_command_resumes(
    squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, epochs = tmp_path / "run", 60
    arguments = ["train", "--data", f"folder:{squares}", *TINY, "--train.epochs", str(epochs), "--out", str(run)]
    arguments += ["--train.workers", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "maskwright", *arguments], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        wait_for(run / "model.safetensors", process)
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 143, error
    assert "Traceback" not in error and "the same command resumes" in error.splitlines()[-1]
    assert (run / "resume.safetensors").is_file() and not (run / "metrics.json").exists()

    assert main(arguments) == 0
    assert "report:" in capsys.readouterr().out
    assert "train: resume" in (run / "log").read_text()
    record = json.loads((run / "metrics.json").read_text())
    assert len(record["history"]["train_loss"]) == epochs
    assert read_config(RunFolder(root=run), SegmenterRunConfig).train.epochs == epochs


def test_a_reader_that_has_enough_is_no_error() -> None:
    program = (
        "import sys; from maskwright import cli; cli._run = lambda *_: print('x' * 10**6); "
        "sys.exit(cli.main(['train']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=30) == 141
    process.stderr.close()
