"""Two volumes of every data source that reads files, in its own layout."""

import numpy as np
from helpers import ismrmrd_files, scan_files
from helpers.centred import complex_images, dft
from helpers.data_files import config, images, kdmri_file, save_h5, save_nifti, stack
from helpers.raw_files import scan, to_kspace
from PIL import Image
from scipy import io

from kdmri_jax.data import read
from kdmri_jax.data.sources import prepared


def _nifti(root):
  save_nifti(root / "train" / "a.nii.gz", stack(1))
  save_nifti(root / "validation" / "b.nii", stack(2))


def _npz(root):
  for k in range(2):
    (root / f"site{k}").mkdir(parents=True)
    np.savez(root / f"site{k}" / "a.npz", image=images(k))


def _arrays(root):
  for k in range(2):
    (root / f"site{k}").mkdir(parents=True)
    io.savemat(root / f"site{k}" / "a.mat", {"image": stack(k)})


def _images(root):
  for k in range(2):
    (root / f"scan{k}").mkdir(parents=True)
    for number, image in enumerate(images(k)):
      grey = Image.fromarray((255 * np.abs(image)).astype(np.uint8))
      grey.save(root / f"scan{k}" / f"{number}.tif")


def _acdc(root):
  for k in (1, 2):
    folder = root / "training" / f"patient{k:03d}"
    save_nifti(folder / f"{folder.name}_4d.nii.gz", stack(k, (6, 5, 3, 2)))
    save_nifti(folder / f"{folder.name}_frame01.nii", stack(10 + k))
    (folder / "Info.cfg").write_text("ED: 1\nES: 2\n")


def _mrbrains13(root):
  for k in (1, 2):
    save_nifti(root / "TrainingData" / str(k) / "T1.nii", stack(k))


def _mrbrains18(root):
  for k in (1, 2):
    save_nifti(root / "training" / str(k) / "pre" / "reg_T1.nii.gz", stack(k))


def _ixi(root):
  for k in (2, 3):
    save_nifti(root / "IXI-PD" / f"IXI00{k}-Guys-0828-PD.nii.gz", stack(k))


def _calgary_campinas(root):
  for k in (1, 2):
    save_nifti(root / "all" / f"CC000{k}_philips_15_55_M.nii.gz", stack(k))


def _calgary_single(root):
  for k, part in enumerate(("Train", "Val")):
    (root / part).mkdir(parents=True)
    draw = np.random.default_rng(k).normal(0, 1e5, (1, 256, 256, 2))
    np.save(root / part / f"e1{k}s3_P0.7.npy", draw.astype(np.float32))


def _fastmri(root):
  for k, part in enumerate(("singlecoil_train", "singlecoil_val")):
    (root / part).mkdir(parents=True)
    kspace = to_kspace(scan(seed=k)[0])
    scan_files.save_fastmri(root / part / f"file{k}.h5", kspace)


def _hammernik(root):
  for subject in (1, 2):
    folder = root / "coronal_pd" / str(subject)
    folder.mkdir(parents=True)
    found, maps = scan((2, 3, 9, 8), subject)
    for k, kspace in enumerate(to_kspace(maps * found[:, None])):
      for kind, name, array in (
        ("rawdata", "rawdata", kspace),
        ("espirit", "sensitivities", maps[k]),
      ):
        last = np.moveaxis(array, 0, 2).astype(np.complex64)
        io.savemat(folder / f"{kind}{k + 1}.mat", {name: last})
  return {"combine": "sense"}


def _calgary_multi(root):
  for k, part in enumerate(("Train", "Val")):
    found, maps = scan((3, 2, 9, 20), k)
    last = np.moveaxis(to_kspace(maps * found[:, None]), 1, 3)
    pairs = np.stack([last.real, last.imag], -1).reshape(*last.shape[:3], -1)
    save_h5(root / part / f"e1{k}s3_P0.7.h5", kspace=pairs.astype(np.float32))


def _kdmri(root):
  for k, part in enumerate(("train", "validation")):
    kdmri_file(root / part / "acc_4x" / "1.h5", k)


def _bart(root):
  for k in range(2):
    (root / f"scan{k}").mkdir(parents=True)
    found, maps = scan((2, 3, 9, 8), k)
    kspace = scan_files.bart_order(to_kspace(maps * found[:, None]))
    scan_files.save_cfl(root / f"scan{k}" / "full.cfl", kspace)
    sensitivities = scan_files.bart_order(maps)
    scan_files.save_cfl(root / f"scan{k}" / "full_sens.cfl", sensitivities)
  return {"combine": "sense"}


def _ismrmrd(root):
  head = ismrmrd_files.header((6, 5), (6, 5))
  for k, name in enumerate(("a.h5", "b.mrd")):
    kspace = dft(complex_images((1, 1, 5, 6), k), 2, 3)
    readouts = ismrmrd_files.readouts(kspace)
    ismrmrd_files.save(root / f"day{k}" / name, head, readouts)


def _dicom(root):
  root.mkdir(parents=True)
  for k in range(2):
    uid = {"SeriesInstanceUID": f"1.2.{k}"}
    scan_files.save_dicom(root / f"S{k}", scan_files.PHANTOM + k, f"P {k}", **uid)
  for path in (root / "S1").iterdir():
    path.rename(path.with_suffix(".dcm"))


def _prepared(root):
  prepared.write_folder(read(config(scaling="none")), root, {})


# Source -> function that writes its files below a root, and returns further settings.
BUILDERS = {
  "nifti": _nifti,
  "npz": _npz,
  "arrays": _arrays,
  "images": _images,
  "acdc": _acdc,
  "mrbrains13": _mrbrains13,
  "mrbrains18": _mrbrains18,
  "ixi": _ixi,
  "calgary_campinas": _calgary_campinas,
  "calgary_single": _calgary_single,
  "fastmri": _fastmri,
  "hammernik": _hammernik,
  "calgary_multi": _calgary_multi,
  "kdmri": _kdmri,
  "bart": _bart,
  "ismrmrd": _ismrmrd,
  "dicom": _dicom,
  "prepared": _prepared,
}
