"""Writes a trained network with a card, to give it away.

  kdmri pack --workdir=runs/cardiac --stage=kd --name=cardiac-4x-distilled \\
    --out=folder --images="Sunnybrook Cardiac Data" --licence="public domain" \\
    --citation="Radau et al. 2009" --revision=v0.2.0 \\
    --command="kdmri run --config=pretrained:cardiac_4x"

It writes NAME.npz, the best weights of the stage in half precision, and NAME.json, the
card: the data with its licence, split, mask and training, the quality on the subjects
that the run holds out (`data.test`), measured anew with the weights as they are stored,
and digests, but no folder of this machine. Where the mask came from a file, NAME.npy is
a copy of it. `kd.load_pretrained("folder/NAME.json")` loads it; so do a stage's
`given=pretrained:folder/NAME.json` and `kdmri reconstruct`. The package's own networks
were written so into kdmri_jax/pretrained/networks.
"""

if __name__ == "__main__":
  from _missing import explain_missing_packages

  explain_missing_packages()

import pathlib

from absl import flags

from kdmri_jax import cli
from kdmri_jax.errors import arguments_of

_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Work directory of a run.", required=True
)
_STAGE = flags.DEFINE_string("stage", "kd", "Stage whose best weights to write.")
_SEED = flags.DEFINE_integer(
  "seed", None, "Seed whose weights to write; default: the first of the run."
)
_NAME = flags.DEFINE_string("name", None, "Name of the network.", required=True)
_OUT = flags.DEFINE_string(
  "out", None, "Folder; files of the same name are replaced.", required=True
)
_ROOT = flags.DEFINE_string("root", "", "Folder of the images, where it has moved.")
_IMAGES = flags.DEFINE_string("images", None, "The images, and where one gets them.")
_LICENCE = flags.DEFINE_string("licence", None, "Licence of the images.")
_CITATION = flags.DEFINE_string("citation", None, "Publication of the images.")
_COMMAND = flags.DEFINE_string("command", None, "The command that trained it.")
_REVISION = flags.DEFINE_string("revision", None, "Revision of the code that did.")
flags.mark_flags_as_required(
  [_IMAGES.name, _LICENCE.name, _CITATION.name, _COMMAND.name, _REVISION.name]
)


def main(argv):
  cli.refuse_arguments(argv)
  from kdmri_jax.training import parallel

  parallel.use_cores()
  from kdmri_jax.pretrained import store
  from kdmri_jax.report import packing

  origin = packing.Origin(
    images=_IMAGES.value,
    licence=_LICENCE.value,
    citation=_CITATION.value,
    command=_COMMAND.value,
    revision=_REVISION.value,
  )
  with arguments_of("--"):
    network = packing.pack(
      pathlib.Path(_WORKDIR.value),
      _STAGE.value,
      _NAME.value,
      origin,
      root=_ROOT.value,
      seed=_SEED.value,
    )
  path = store.write(pathlib.Path(_OUT.value), network)
  print(f"{network.card}\ncard: {path}")


if __name__ == "__main__":
  cli.run_main(main)
