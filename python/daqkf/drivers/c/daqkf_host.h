/* Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
   SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

   Operations of a network's host that are more than a loop over elements. They need the C library's sqrtf. */

#ifndef DAQKF_HOST_H
#define DAQKF_HOST_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* (x - mean) / sqrt(variance + epsilon) * gamma + beta of each of the tokens [tokens, features]. */
void daqkf_layer_norm(const float *x, const float *gamma, const float *beta, float *y,
                      size_t tokens, size_t features, double epsilon);

/* x / sqrt(mean of squares + epsilon) * gamma of each of the tokens [tokens, features]. */
void daqkf_rms_norm(const float *x, const float *gamma, float *y, size_t tokens, size_t features,
                    double epsilon);

#ifdef __cplusplus
}
#endif

#endif
