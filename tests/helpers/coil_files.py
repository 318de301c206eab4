"""Files of several coils, in the layout of every source that keeps their k-space."""

import numpy as np
from helpers import ismrmrd_files, scan_files
from helpers.data_files import config, save_h5
from helpers.raw_files import to_kspace
from scipy import io

import kdmri_jax as kd


def image(seed=0, shape=(2, 24, 20)):
  """Smooth complex images with an empty border."""
  rng = np.random.default_rng(seed)
  rows, columns = (np.linspace(-1, 1, n) for n in shape[1:])
  disc = (rows[:, None] ** 2 + columns**2 < 0.8).astype(float)
  texture = 1 + 0.5 * rng.random(shape)
  return disc * texture * np.exp(1j * (rows[:, None] + rng.random((shape[0], 1, 1))))


def coil_images(seed=0, coils=4, shape=(2, 24, 20)):
  """The images that coils see [S, C, H, W], and their sensitivities, likewise."""
  maps = kd.coils.simulate(shape[1:], coils, 1)
  maps = np.repeat(maps[None], shape[0], 0)
  return maps * image(seed, shape)[:, None], maps


def settings(source, root, **changes):
  """Data settings that keep the coils and validate on half of the subjects."""
  kept = {"combine": "none", "validation_fraction": 0.5}
  if source == "arrays":
    kept["contrast"] = "kspace"
  return config(source=source, root=str(root), **(kept | changes))


def save_maps(path, maps):
  np.save(path.with_name(f"{path.stem}_sens.npy"), maps)


def kspace_of(images, mask, **options):
  """Centred k-space, exactly 0 where a mask [H, W] does not sample."""
  return to_kspace(images, **options) * np.fft.fftshift(mask)


def fastmri(path, images, maps, mask):
  path = path.with_suffix(".h5")
  several = images if images.shape[1] > 1 else images[:, 0]
  columns = {} if mask.all() else {"mask": np.fft.fftshift(mask[0])}
  scan_files.save_fastmri(path, kspace_of(several, mask), **columns)
  save_maps(path, maps)
  return path


def ismrmrd(path, images, maps, mask):
  path, size = path.with_suffix(".mrd"), images.shape[:1:-1]
  lines = np.flatnonzero(np.fft.fftshift(mask[:, 0]))
  readouts = [
    each
    for each in ismrmrd_files.readouts(to_kspace(images))
    if each.idx.kspace_encode_step_1 in lines
  ]
  ismrmrd_files.save(path, ismrmrd_files.header(size, size), readouts)
  save_maps(path, maps)
  return path


def calgary_multi(path, images, maps, mask):
  path = path.with_suffix(".h5")
  last = np.moveaxis(kspace_of(images, mask, centred_image=False), 1, 3)
  pairs = np.stack([last.real, last.imag], -1).reshape(*last.shape[:3], -1)
  save_h5(path, kspace=pairs.astype(np.float32))
  save_maps(path, maps)
  return path


def bart(path, images, maps, mask):
  path = path.with_suffix(".cfl")
  scan_files.save_cfl(path, scan_files.bart_order(kspace_of(images, mask)))
  file = path.with_name(f"{path.stem}_sens.cfl")
  scan_files.save_cfl(file, scan_files.bart_order(maps))
  return path


def hammernik(path, images, maps, mask):
  folder = path.parent / "coronal_pd" / path.name
  folder.mkdir(parents=True, exist_ok=True)
  for k, kspace in enumerate(kspace_of(images, mask)):
    for kind, name, array in (
      ("rawdata", "rawdata", kspace),
      ("espirit", "sensitivities", maps[k]),
    ):
      last = np.moveaxis(array, 0, 2).astype(np.complex64)
      io.savemat(folder / f"{kind}{k + 1}.mat", {name: last})
  return folder


def arrays(path, images, maps, mask):
  """As MATLAB's users store them: rows, columns, coils, slices."""
  last = lambda values: values.transpose(2, 3, 1, 0).astype(np.complex64)  # noqa: E731
  io.savemat(f"{path}.mat", {"DATA": last(kspace_of(images, mask)), "n": [[1.0]]})
  io.savemat(f"{path}_sens.mat", {"maps": last(maps)})
  return path.with_suffix(".mat")


# Source -> function that writes a subject, named by a number: its coils' images and
# sensitivities [S, C, H, W], and the mask that samples it; returns its file or folder.
WRITERS = {
  "fastmri": fastmri,
  "ismrmrd": ismrmrd,
  "calgary_multi": calgary_multi,
  "bart": bart,
  "hammernik": hammernik,
  "arrays": arrays,
}


def write(source, root, number, images, maps, mask=None):
  """Writes a subject, fully sampled without a mask; its file or folder."""
  mask = np.ones(images.shape[2:]) if mask is None else mask
  return WRITERS[source](root / str(number), images, maps, mask)


def subjects(source, root, numbers=(1, 2), **options):
  """Writes subjects; gives the coils' images and the sensitivities of each."""
  found = [coil_images(number, **options) for number in numbers]
  root.mkdir(parents=True, exist_ok=True)
  for number, arrays in zip(numbers, found, strict=True):
    write(source, root, number, *arrays)
  return found
