/* Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
   SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */

#include "daqkf_host.h"

#include <math.h>

static float mean(const float *x, size_t count) {
  double sum = 0;
  for (size_t index = 0; index < count; ++index)
    sum += (double)x[index];
  return (float)(sum / (double)count);
}

static float mean_square(const float *x, size_t count, float middle) {
  double sum = 0;
  for (size_t index = 0; index < count; ++index) {
    const float centred = x[index] - middle;
    sum += (double)(centred * centred);
  }
  return (float)(sum / (double)count);
}

void daqkf_layer_norm(const float *x, const float *gamma, const float *beta, float *y,
                      size_t tokens, size_t features, double epsilon) {
  for (size_t token = 0; token < tokens; ++token, x += features, y += features) {
    const float middle = mean(x, features);
    const float root = sqrtf(mean_square(x, features, middle) + (float)epsilon);
    for (size_t index = 0; index < features; ++index)
      y[index] = (x[index] - middle) / root * gamma[index] + beta[index];
  }
}

void daqkf_rms_norm(const float *x, const float *gamma, float *y, size_t tokens, size_t features,
                    double epsilon) {
  for (size_t token = 0; token < tokens; ++token, x += features, y += features) {
    const float root = sqrtf(mean_square(x, features, 0) + (float)epsilon);
    for (size_t index = 0; index < features; ++index)
      y[index] = x[index] / root * gamma[index];
  }
}
