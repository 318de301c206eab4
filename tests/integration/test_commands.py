"""The command `kdmri`, experiments by name, and what is missing where."""

import pathlib
import re
import shutil
import subprocess
import sys

import jax
import pytest
from helpers.tiny import finish, make

import kdmri_jax
from kdmri_jax import __main__, config_flag
from kdmri_jax import run as run_lib
from kdmri_jax.errors import ArgumentError
from kdmri_jax.pretrained import __main__ as pretrained_main
from kdmri_jax.report import write_reports

ROOT = pathlib.Path(__file__).parents[2]
COMMANDS = sorted(path.stem for path in (ROOT / "scripts").glob("[!_]*.py"))


def kdmri(monkeypatch, *arguments):
  monkeypatch.setattr(sys, "argv", ["/somewhere/bin/kdmri", *arguments])
  __main__.main()


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_help_lists_every_command_with_a_line(monkeypatch, capsys, arguments):
  kdmri(monkeypatch, *arguments)
  shown = capsys.readouterr().out.splitlines()
  assert shown[0] == kdmri_jax.__doc__.splitlines()[0]
  lines = [line.split(maxsplit=1) for line in shown[4:]]
  assert [name for name, _ in lines] == COMMANDS
  assert dict(lines)["masks"] == "Makes, shows, compares and converts sampling masks."


def test_the_version_is_the_one_that_is_installed(monkeypatch, capsys):
  kdmri(monkeypatch, "--version")
  assert capsys.readouterr().out == f"kdmri_jax {kdmri_jax.__version__}\n"


def test_an_unknown_command_suggests_the_closest(monkeypatch):
  with pytest.raises(SystemExit, match=r"no command 'recontruct'.* 'reconstruct'"):
    kdmri(monkeypatch, "recontruct")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_names_the_program_and_needs_no_jax(command):
  code = (
    "import sys, kdmri_jax.__main__ as program;"
    f"sys.argv = ['bin/kdmri', {command!r}, '--help']; program.main();"
    "loaded = {m for m in sys.modules if m.startswith('kdmri_jax.scripts.')};"
    f"assert loaded == {{'kdmri_jax.scripts._missing', 'kdmri_jax.scripts.{command}'}};"
    "assert 'jax' not in sys.modules and 'matplotlib' not in sys.modules"
  )
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  assert f"\n  kdmri {command} " in done.stdout
  assert "\nFlags:\n" in done.stdout


def test_a_script_without_packages_says_what_to_do(tmp_path):
  """As in a checkout, with an interpreter that has none of the packages."""
  shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
  command = [sys.executable, "-S", "-E", tmp_path / "scripts" / "run.py", "--help"]
  done = subprocess.run(command, capture_output=True, text=True)
  assert done.returncode == 1
  (paragraph,) = done.stderr.strip().splitlines()
  assert "found no package 'absl'" in paragraph
  assert f"{sys.executable} -m pip install {tmp_path}" in paragraph
  assert str(tmp_path / ".venv" / "bin" / "python") in paragraph


def test_an_experiment_is_a_file_or_a_name_of_those_shipped():
  shipped = config_flag.experiment_file("demo")
  assert shipped.samefile(ROOT / "experiments" / "demo.py")
  for own in ("demo.py", "folder/demo", "/gone/demo.py"):
    assert config_flag.experiment_file(own) == pathlib.Path(own)
  names = config_flag.shipped_experiments()
  assert {"base", "demo", "sft", "cardiac_4x"} <= set(names)
  assert not {"study", "published", "enhancement", "__init__"} & set(names)


def test_an_unknown_experiment_lists_those_there_are(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(ArgumentError, match="Did you mean 'demo'"):
    config_flag.experiment_file("dmo")
  (tmp_path / "dmo.py").touch()
  with pytest.raises(ArgumentError) as caught:
    config_flag.experiment_file("dmo")
  assert "one of ablation, acdc," in str(caught.value)
  assert str(caught.value).endswith("The file in this folder is dmo.py.")


def test_the_pages_name_experiments_and_commands_that_exist():
  pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
  pages += [*(ROOT / "experiments").glob("*.py"), *(ROOT / "scripts").glob("*.py")]
  text = "\n".join(page.read_text() for page in pages)
  named = set(re.findall(r"--config=([a-z]\w*(?::\w+)*)(?![\w.:])", text))
  assert len(named) > 10
  for name in named - {"my"}:
    run_lib._parse(name)
  assert set(re.findall(r"\bkdmri ([a-z]\w*) --", text)) <= set(COMMANDS)


def test_the_notebook_of_the_readme_runs():
  section = (ROOT / "README.md").read_text().partition("## In a notebook")[2]
  code = re.search(r"```python\n(.*?)```", section, re.S)[1]
  names = {}
  exec(code, names)
  image, zero_filled, student = map(names.get, ("image", "zero_filled", "student"))
  gain = kdmri_jax.metrics.psnr(image, student) - kdmri_jax.metrics.psnr(
    image, zero_filled
  )
  assert student.shape == image.shape and gain > 5


def test_the_demo_begins_with_a_pretrained_network(capsys):
  assert "python -m kdmri_jax.pretrained\n" in (ROOT / "Makefile").read_text()
  pretrained_main.main()
  assert "PSNR 26.7 dB zero-filled, 33.6 dB by the network" in capsys.readouterr().out


def test_loading_a_network_says_nothing(tmp_path):
  """Neither Orbax nor absl nor JAX, in a program that has set up no logging."""
  finish(make(tmp_path), "teacher")
  code = (
    f"import kdmri_jax as kd; kd.load({str(tmp_path)!r}, 'teacher'); "
    "kd.load_pretrained('cardiac-4x-distilled')"
  )
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
  assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_library_trains_a_shipped_experiment_by_name_and_argument():
  parsed = run_lib._parse("cardiac_4x:reference")
  assert parsed.name == "KD-MRI, cardiac 4x, reference protocol"
  assert run_lib._parse(ROOT / "experiments" / "cardiac_4x.py").name.startswith(
    "KD-MRI, cardiac 4x, paper"
  )


def test_the_environment_is_told():
  found = write_reports.environment(jax.devices()[:2])
  assert found["kdmri_jax"] == kdmri_jax.__version__
  assert found["jax"] == jax.__version__ and found["orbax-checkpoint"]
  assert found["devices"] == "2 x cpu"
