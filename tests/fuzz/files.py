"""Small undamaged files of every format."""

import json
import pathlib
import pickle

import h5py
import numpy as np
import pydicom
import scipy.io
import scipy.sparse
from helpers import ismrmrd_files, published_networks, scan_files
from helpers.centred import complex_images, dft
from helpers.data_files import kdmri_folder, save_h5, save_nifti, stack
from helpers.raw_files import noise, scan, to_kspace
from helpers.tiny import tiny_config
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from kdmri_jax import config as config_lib
from kdmri_jax.data import read
from kdmri_jax.data.sources import prepared as prepared_source
from kdmri_jax.interop import torch_file
from kdmri_jax.physics.masks import recipes
from kdmri_jax.training.log import StageLog

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
PHANTOM = scan_files.PHANTOM
REGIONS = {"head": (3, 40, 50)}


def nifti(name):
  return lambda folder: scan_files.save_nifti(folder / name, PHANTOM)


def _images(seed=0):
  return np.random.default_rng(seed).uniform(0.1, 1, (3, 10, 9)).astype(np.float32)


def h5_images(folder):
  with h5py.File(folder / "a.h5", "w") as file:
    file["target"], file["reconstruction"] = _images(), _images(1)
    file["header/ismrmrd_header"] = "<xml/>"
    file["header"].attrs["patient_id"] = "P1"
    file.attrs["subject"], file.attrs["split"] = "s1", "train"
    file.attrs["record"] = json.dumps({"unit": "subject"})


def h5_packed(folder):
  with h5py.File(folder / "a.h5", "w") as file:
    for key, options in {
      "volfs": {"compression": "gzip", "shuffle": True, "chunks": (5, 3, 2)},
      "kspace_volus_4x": {"fletcher32": True, "chunks": (5, 9, 1)},
      "other": {"compression": "lzf", "maxshape": (None, None, None)},
    }.items():
      array = np.moveaxis(_images(), 0, 2)
      array = np.fft.fft2(array, axes=(0, 1)) if key.startswith("k") else array
      file.create_dataset(key, data=array, **options)


def h5_latest(folder):
  with h5py.File(folder / "a.h5", "w", libver="latest", track_order=True) as file:
    options = {"compression": "gzip", "chunks": (1, 10, 9), "maxshape": (None, 10, 9)}
    file.create_dataset("images", data=_images(), **options)
    file["target"] = h5py.SoftLink("/images")
    for k in range(12):
      file.attrs[f"attribute {k}"] = "text" * k
      file[f"group/{k}"] = k


def npz(save):
  subjects = np.array(["a", "a", "a"])
  return lambda folder: save(folder / "a.npz", image=_images(), subject=subjects)


def npy(folder):
  np.save(folder / "a.npy", _images())


def cfl(folder):
  array = np.moveaxis(_images(), 0, 2).reshape(10, 9, *[1] * 11, 3)
  scan_files.save_cfl(folder / "a", array.astype(np.complex64))


def dicom(kind=""):
  def make(folder):
    scan_files.save_dicom(folder / "series", PHANTOM)
    path = next((folder / "series").iterdir())
    file = pydicom.dcmread(path)
    if kind == "packed":
      file.compress(pydicom.uid.RLELossless)
    elif kind == "deflated":
      file.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    file.save_as(folder / "a.dcm", enforce_file_format=True)
    for path in (folder / "series").iterdir():
      path.unlink()
    (folder / "series").rmdir()

  return make


def dicom_frames(folder):
  dicom()(folder)
  file, groups = pydicom.dcmread(folder / "a.dcm"), []
  for k in range(len(PHANTOM)):
    plane, group = Dataset(), Dataset()
    plane.ImagePositionPatient = [0, 0, 3 * k]
    group.PlanePositionSequence = Sequence([plane])
    groups.append(group)
  file.file_meta.MediaStorageSOPClassUID = pydicom.uid.EnhancedMRImageStorage
  file.SOPClassUID = pydicom.uid.EnhancedMRImageStorage
  file.NumberOfFrames, file.PixelData = len(PHANTOM), PHANTOM.astype("<u2").tobytes()
  file.PerFrameFunctionalGroupsSequence = Sequence(groups)
  file.save_as(folder / "a.dcm", enforce_file_format=True)


def dicom_folder(folder):
  scan_files.save_dicom(folder / "series", PHANTOM)


def dicom_subjects(folder):
  for k in range(2):
    scan_files.save_dicom(
      folder / f"p{k}",
      PHANTOM + k,
      f"P {k}",
      SeriesInstanceUID=f"1.2.4.{k}",
      PatientID=f"P {k}",
    )


def ismrmrd(folder, name="a.h5", seed=0):
  head = ismrmrd_files.header((6, 5), (6, 5))
  images = complex_images((2, 1, 5, 6), seed)
  ismrmrd_files.save(folder / name, head, ismrmrd_files.readouts(dft(images, 2, 3)))


def ismrmrd_calibration(folder):
  """Every second line of two coils, and lines that only calibrate."""
  kspace = dft(complex_images((2, 2, 12, 8)), 2, 3)
  every = ismrmrd_files.readouts(kspace)
  kept = [each for each in every if each.idx.kspace_encode_step_1 % 2 == 0]
  alone = ("PARALLEL_CALIBRATION",)
  kept += ismrmrd_files.readouts(kspace[:, :, 3:9], first=3, flags=alone)
  ismrmrd_files.save(folder / "a.h5", ismrmrd_files.header((8, 12), (8, 12)), kept)


def ismrmrd_folder(folder):
  for k in range(2):
    ismrmrd(folder, f"{k}.h5", k)


_HEADER = """<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
<encoding><encodedSpace><matrixSize><x>9</x><y>8</y><z>1</z></matrixSize></encodedSpace>
<reconSpace><matrixSize><x>5</x><y>5</y><z>1</z></matrixSize></reconSpace>
<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>7</maximum>
<center>4</center></kspace_encoding_step_1></encodingLimits></encoding></ismrmrdHeader>"""


def fastmri(folder, name="a.h5", seed=0, sampled=4):
  images = noise((3, 9, 8), seed)
  mask = np.arange(8) % sampled == 0
  with h5py.File(folder / name, "w") as file:
    file["kspace"] = (to_kspace(images) * mask).astype(np.complex64)
    file["ismrmrd_header"] = np.bytes_(_HEADER)
    file["reconstruction_esc"] = np.abs(images)[:, 2:7, 1:6].astype(np.float32)
    if sampled > 1:
      file["mask"] = mask
    file.attrs["max"], file.attrs["norm"] = 0.5, 0.07
    file.attrs["acquisition"], file.attrs["patient_id"] = "CORPD_FBK", f"P{seed}"


def fastmri_folder(folder):
  for k in range(2):
    fastmri(folder, f"{k}.h5", k, sampled=1)


def mask(ending):
  def make(folder):
    array = recipes.cartesian((12, 10), 2, 2, 1, 0)
    path = folder / f"mask.{ending}"
    if ending == "npy":
      np.save(path, array)
    elif ending == "h5":
      save_h5(path, mask=np.fft.fftshift(array)[0])
    elif ending == "cfl":
      scan_files.save_cfl(path, np.fft.fftshift(array).astype(np.complex64))
    elif ending == "4.mat":
      more = scipy.sparse.csc_matrix(array.astype(float))
      scipy.io.savemat(path, {"other": more, "mask": array}, format="4")
    elif ending == "7.3.mat":
      _save_mat_73(path, mask=array.astype(float))
    else:
      stored = scipy.sparse.csc_matrix(array) if "sparse" in ending else array
      content = {"mask": stored, "other": [1 + 2j, 3], "text": "abc"}
      scipy.io.savemat(path, content, do_compression="packed" in ending)

  return make


def _save_mat_73(path, **arrays):
  with h5py.File(path, "w", userblock_size=512) as file:
    for name, array in arrays.items():
      file[name] = array.T
      file[name].attrs["MATLAB_class"] = np.bytes_("double")
  with path.open("r+b") as file:
    file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\2IM")


def regions(folder):
  lines = ["volume,slice,row,column,height,width"]
  lines += [f"head,{k},{k + 5},6,7,{k + 8}" for k in range(3)]
  (folder / "regions.csv").write_text("\n".join(lines) + "\n")


def config_record(folder):
  record = config_lib.to_dict(config_lib.parse(tiny_config()))
  (folder / "config.json").write_text(json.dumps(record, indent=1))


def log_lines(folder):
  stage = StageLog(folder, "kd", 0, 4)
  values = {"loss": 0.5, "image": 0.25}
  for k in range(1, 4):
    entry = {"event": "epoch", "epoch": k, "step": 2 * k, "seconds": 1.5}
    entry |= {"learning_rate": 1e-3, "train": values, "validation": {"mse": 0.1}}
    stage.epoch(entry)
    stage.audit(2 * k, {"image": {"value": 0.5, "norm": 1.5, "cosine": 0.75}})
  stage.close()


def legacy_pt(folder):
  """The format before PyTorch 1.6: pickles, then the storages."""
  new = torch_file.read(GOLDEN / "recon_48x40_rows_student.pt")
  arrays = []
  parts = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {})]
  body = b"".join(torch_file._opcodes({"model": new["model"]}, arrays))
  parts += [b"\x80\x02", body, b"."]
  parts.append(pickle.dumps([str(k) for k in range(len(arrays))], 2))
  for array in arrays:
    parts += [array.size.to_bytes(8, "little"), array.tobytes()]
  (folder / "a.pt").write_bytes(b"".join(parts))


def vgg(folder):
  rng, inputs, state = np.random.default_rng(0), 3, {}
  for index, outputs in {0: 4, 2: 4, 5: 6, 7: 6, 10: 8, 12: 8}.items():
    weight = rng.normal(size=(outputs, inputs, 3, 3))
    state[f"features.{index}.weight"] = weight.astype(np.float32)
    state[f"features.{index}.bias"] = rng.normal(size=outputs).astype(np.float32)
    inputs = outputs
  torch_file.write(folder / "vgg.pth", state)


def lasagne(folder):
  """A cascade of two convolutions."""
  shapes = (4, 2, 3, 3), (4,), (2, 4, 3, 3), (2,)
  np.savez(folder / "a.npz", *map(np.random.default_rng(0).random, shapes))


def varnet(folder):
  _, state, *_ = published_networks.varnet("published")
  torch_file.write(folder / "varnet.pt", state)


def nifti_folder(folder):
  for k in range(3):
    save_nifti(folder / f"s{k}.nii{'.gz' if k else ''}", stack(k))


def npz_folder(folder):
  for k in range(2):
    np.savez(folder / f"{k}.npz", image=_images(k), subject=np.array([k, k, k + 2]))


def acdc(folder):
  for k in range(1, 4):
    patient = folder / "training" / f"patient{k:03d}"
    for frame in (1, 12):
      path = patient / f"patient{k:03d}_frame{frame:02d}.nii.gz"
      save_nifti(path, stack(10 * k + frame))
    (patient / "Info.cfg").write_text("ED: 1\nES: 12\nGroup: DCM\nNbFrame: 30\n")


def mrbrains(folder):
  for k in range(1, 6):
    save_nifti(folder / "TrainingData" / str(k) / "T1.nii", stack(k))


def ixi(folder):
  for k, name in enumerate(("IXI002-Guys-0828", "IXI012-HH-1211", "IXI035-IOP-0873")):
    save_nifti(folder / f"{name}-PD.nii.gz", stack(k))


def hammernik(folder):
  for k in (1, 2):
    below = folder / "coronal_pd" / str(k)
    below.mkdir(parents=True)
    images, maps = scan((2, 3, 9, 8), k)
    kspace = to_kspace(maps * images[:, None])
    for number, (coils, sensitivities) in enumerate(zip(kspace, maps, strict=True), 1):
      arrays = {"rawdata": coils, "sensitivities": sensitivities}
      last = {key: np.moveaxis(a, 0, 2) for key, a in arrays.items()}
      last = {key: a.astype(np.complex64) for key, a in last.items()}
      name = below / f"rawdata{number}.mat"
      if k == 1:
        scipy.io.savemat(name, {"rawdata": last["rawdata"]}, do_compression=True)
      else:
        stored = np.zeros(last["rawdata"].shape, [("real", "<f4"), ("imag", "<f4")])
        stored["real"], stored["imag"] = last["rawdata"].real, last["rawdata"].imag
        _save_mat_73(name, rawdata=stored)
      more = {"reference": np.zeros((9, 8), np.complex64)}
      more["sensitivities"] = last["sensitivities"]
      scipy.io.savemat(below / f"espirit{number}.mat", more)


def calgary_multi(folder):
  for k in range(2):
    images, maps = scan((3, 2, 9, 20), k)
    kspace = to_kspace(maps * images[:, None], centred_image=False)
    kspace[..., 17:] = 0
    last = np.moveaxis(kspace, 1, 3)
    pairs = np.stack([last.real, last.imag], -1).reshape(*last.shape[:3], -1)
    save_h5(folder / f"e{k}.h5", kspace=pairs.astype(np.float32))


def kdmri(folder):
  kdmri_folder(folder, 1)


def bart_folder(folder):
  for k in range(2):
    kspace = to_kspace(noise((2, 3, 9, 8), k))
    scan_files.save_cfl(folder / f"s{k}", scan_files.bart_order(kspace))


def prepared(folder):
  raw = folder / "raw"
  settings = kdmri_folder(raw, 1)
  prepared_source.write_folder(read(settings), folder / "out", {"source": "kdmri"})
  for path in sorted(raw.rglob("*"), reverse=True):
    path.unlink() if path.is_file() else path.rmdir()
  raw.rmdir()
  for path in (folder / "out").iterdir():
    path.rename(folder / path.name)
  (folder / "out").rmdir()
