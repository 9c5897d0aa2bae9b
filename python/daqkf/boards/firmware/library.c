// Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a compiler calls by itself, as there is no C library.

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t count);
void *memset(void *to, int value, size_t count);

void *memcpy(void *restrict to, const void *restrict from, size_t count) {
  // Volatile, so that no compiler takes the loop for a call of the function that it is.
  volatile unsigned char *out = to;
  const unsigned char *in = from;
  for (; count; --count)
    *out++ = *in++;
  return to;
}

void *memset(void *to, int value, size_t count) {
  volatile unsigned char *out = to;
  for (; count; --count)
    *out++ = (unsigned char)value;
  return to;
}
