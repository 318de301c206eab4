"""The page of examples/web, in a real browser: its numbers are those of JAX."""

import contextlib
import functools
import http.server
import json
import pathlib
import shutil
import subprocess
import threading

import numpy as np
import pytest
from helpers.commands import run
from matplotlib import pyplot

import kdmri_jax as kd
from kdmri_jax.pretrained import example

ROOT = pathlib.Path(__file__).parents[2]
PAGE = ROOT / "examples" / "web"
MODULES = PAGE / "node_modules"
COUNTS = (16, 64, 32)
NEEDED = {
  "Node.js": shutil.which("node"),
  "Chromium": shutil.which("chromium"),
  "`npm install` in examples/web": (MODULES / "playwright-core").is_dir()
  and (MODULES / "onnxruntime-web").is_dir(),
}
MISSING = [name for name, there in NEEDED.items() if not there]

pytestmark = [
  pytest.mark.slow,
  pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}"),
]


class _Handler(http.server.SimpleHTTPRequestHandler):
  def log_message(self, *_):
    pass


@contextlib.contextmanager
def served(folder):
  """The address at which static files are served."""
  handler = functools.partial(_Handler, directory=str(folder))
  with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()


def browse(folder, screenshot, *counts):
  """What the page shows with each number of lines."""
  script = ROOT / "tests" / "helpers" / "browse.js"
  with served(folder) as url:
    command = ["node", script, MODULES, shutil.which("chromium"), url, screenshot]
    command += map(str, counts)
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
  assert done.returncode == 0, done.stderr
  return url, json.loads(done.stdout)


@pytest.fixture
def site(tmp_path):
  """The page with its files, made by the commands in docs/journey.md."""
  folder = tmp_path / "site"
  folder.mkdir()
  shutil.copy(PAGE / "index.html", folder)
  (folder / "node_modules").symlink_to(MODULES)
  out = f"--out={folder / 'network.onnx'}"
  done = run("export", "--workdir=pretrained:cardiac-4x-distilled", out)
  assert done.returncode == 0, done.stderr
  np.save(folder / "heart.npy", example())
  return folder


def masks(own, counts):
  """The first lines of the network's mask, then others; from low frequencies on."""
  line = own[:, 0].astype(int)
  order = np.lexsort((np.abs(np.fft.fftfreq(len(line))), 1 - line))
  for count in counts:
    mask = np.zeros_like(own)
    mask[order[:count]] = 1
    yield mask


@pytest.mark.filterwarnings("ignore:The scan is sampled at")
def test_the_numbers_are_those_of_jax(site, tmp_path):
  url, found = browse(site, tmp_path / "page.png", *COUNTS)
  assert not found["complaints"]
  assert all(address.startswith(url) for address in found["asked"])
  network, heart = kd.load_pretrained("cardiac-4x-distilled"), example()
  for shown, mask in zip(found["shown"], masks(network.mask, COUNTS), strict=True):
    zero_filled, measured = kd.undersample(heart, mask)
    images = {"zero_filled": zero_filled, "network": network.reconstruct(*measured)}
    for name, image in images.items():
      own = np.reshape(shown["found"][name], heart.shape)
      np.testing.assert_allclose(own, image, rtol=0, atol=1e-5)
      quality = kd.metrics.psnr(heart, image)
      assert shown["quality"][name] == pytest.approx(quality, abs=1e-4)
      assert f"{quality:.2f} dB" in shown["text"]
  assert "trained with these 32 lines" in found["text"]
  picture = pyplot.imread(tmp_path / "page.png")
  assert picture.shape[:2] == (900, 1100) and picture[..., :3].std() > 0.1


def test_a_missing_file_is_named(site, tmp_path):
  (site / "heart.npy").unlink()
  _, found = browse(site, tmp_path / "page.png", *COUNTS)
  assert "Error: heart.npy is not there: docs/journey.md" in found["text"]
  (site / "node_modules").unlink()
  _, found = browse(site, tmp_path / "page.png", *COUNTS)
  assert "Error: onnxruntime-web is not there: run npm install" in found["text"]
