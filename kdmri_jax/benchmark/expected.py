"""What an H200 took or is predicted to take, as docs/performance.md has it."""

from kdmri_jax.benchmark import kernels

PALLAS = "jax, Pallas"

# (stage, precision, runner) -> ms per step of 4 images of 240x240; those of Pallas are
# predicted from bytes.
STEPS = {
  ("student", "tensorfloat32", "jax"): "4.23",
  ("student", "tensorfloat32", PALLAS): "1.4 to 3.0, predicted",
  ("student", "tensorfloat32", "torch"): "6.53",
  ("student", "tensorfloat32", "torch, channels last"): "6.58",
  ("kd", "tensorfloat32", "jax"): "4.27",
  ("kd", "tensorfloat32", PALLAS): "1.4 to 3.0, predicted",
  ("teacher", "tensorfloat32", "jax"): "7.80",
  ("teacher", "tensorfloat32", PALLAS): "2.3 to 5.9, predicted",
  ("teacher", "tensorfloat32", "torch"): "13.2",
  ("teacher", "tensorfloat32", "torch, channels last"): "12.3",
  ("student", "bfloat16", "jax"): "2.86",
  ("student", "bfloat16", PALLAS): "1.0 to 1.6, predicted",
  ("kd", "bfloat16", PALLAS): "1.0 to 1.6, predicted",
  ("teacher", "bfloat16", PALLAS): "1.5 to 2.9, predicted",
  ("student", "float32", "jax"): "7.40",
  ("student", "float32", PALLAS): "1.4 to 3.4, predicted",
  ("kd", "float32", PALLAS): "1.4 to 3.4, predicted",
  ("teacher", "float32", PALLAS): "2.4 to 7.1, predicted",
}
# Likewise, ms for 8 images.
INFERENCE = {
  ("student", "tensorfloat32", PALLAS): "0.6 to 1.8, predicted",
  ("teacher", "tensorfloat32", PALLAS): "1.1 to 3.1, predicted",
}
PROTOCOL = "184 from the steps with XLA; 60 to 135 with Pallas, predicted"
# Microseconds of single operations in tensorfloat32: by XLA measured, with conversions
# of layout and the ReLU's mask, by Pallas predicted.
KERNELS = {
  (kernels.FORWARD, 32, 32): ("40", "22 to 65"),
  (kernels.OF_INPUT, 32, 32): ("45 and the mask", "33 to 125"),
  (kernels.OF_KERNEL, 32, 32): ("248", "40 to 98"),
  (kernels.FORWARD, 1, 32): ("13 to 41", "11"),
  (kernels.OF_INPUT, 1, 32): ("13 to 41 and the mask", "22 to 118"),
  (kernels.OF_KERNEL, 1, 32): ("114 to 135", "22"),
  (kernels.FORWARD, 32, 1): ("13 to 41", "11 to 59"),
  (kernels.OF_INPUT, 32, 1): ("13 to 41", "11"),
  (kernels.OF_KERNEL, 32, 1): ("39 to 60", "11"),
}
