/* Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
   SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

   Kernels of a network by the driver of daqkf.h: floats become integers, run on the device from one queue, and
   become floats again. What describes a kernel is generated; see docs/drivers.md. */

#ifndef DAQKF_NETWORK_H
#define DAQKF_NETWORK_H

#include "daqkf.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a step of the integers is worth. Extra columns carry what exceeds int8. */
struct daqkf_scales {
  const double *scale;  /* one for all features, or one for each */
  uint32_t scales;      /* how many there are */
  double factor;        /* if not 0, what to multiply by in place of a division by the one scale */
  const uint32_t *split; /* the feature of each extra column, ascending */
  uint32_t extra;       /* how many there are */
};

/* A program in the device's memory. */
struct daqkf_program {
  uint64_t address;
  uint32_t words;
  uint32_t features, outputs; /* rows of a tile, with the extra columns */
  bool wide;                  /* results are int16, in two rows each */
  bool attends;               /* activations are sequences */
};

/* Programs one after another, each of which reads the results of the one before. */
struct daqkf_kernel {
  const struct daqkf_program *programs;
  uint32_t count;
  uint32_t features, outputs; /* of the floats */
  uint32_t most_tokens;       /* of a sequence, if the programs attend; else 0 */
  struct daqkf_scales in, out;
};

/* Where a kernel works. */
struct daqkf_room {
  uint64_t address, bytes; /* of the device's memory, from a multiple of 64 on */
  int8_t *tile;            /* of the host: as many bytes as a tile has at most, with any program */
  uint32_t tile_bytes;
};

/* Run a kernel on tokens [T, features], which give [T, outputs]. They are sequences of these lengths, which
   all are at least 1; of kernels that do not attend, one. An error leaves the device ready. */
enum daqkf_result daqkf_run_kernel(struct daqkf_device *device, const struct daqkf_kernel *kernel,
                                   const struct daqkf_room *room, const uint32_t *lengths,
                                   uint32_t sequences, const float *x, float *y);

/* Sequences of equal extent, some of whose tokens are not there. */
struct daqkf_batch {
  uint32_t sequences, tokens; /* [sequences, tokens, features] */
  const float *mask;          /* 0 for a token that is there, at most `absent` for others; or NULL */
  size_t mask_sequence, mask_token; /* elements from one to the next */
  float absent;
  uint32_t *lengths;     /* room for as many numbers as there are sequences */
  float *rows, *results; /* and for all tokens, before and behind the kernel */
};

/* Run a kernel that attends on the tokens that are there. The others give 0. */
enum daqkf_result daqkf_run_batch(struct daqkf_device *device, const struct daqkf_kernel *kernel,
                                  const struct daqkf_room *room, const struct daqkf_batch *batch,
                                  const float *x, float *y);

#ifdef __cplusplus
}
#endif

#endif
