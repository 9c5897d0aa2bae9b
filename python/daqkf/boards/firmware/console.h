// Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Text on the UART of the SoC.

#ifndef DAQKF_CONSOLE_H
#define DAQKF_CONSOLE_H

#include <stdint.h>

#include <generated/csr.h>

static inline void put_char(char letter) {
#ifdef CSR_UART_BASE
  while (uart_txfull_read())
    ;
  uart_rxtx_write((unsigned char)letter);
#else
  (void)letter;
#endif
}

static inline void put_text(const char *text) {
  for (; *text; ++text)
    put_char(*text);
}

static inline void put_hex(uint32_t word) {
  put_text("0x");
  for (int shift = 28; shift >= 0; shift -= 4)
    put_char("0123456789abcdef"[word >> shift & 15]);
}

// Some processors have no divider, and there is no library.
static inline void put_number(uint32_t number) {
  static const uint32_t powers[] = {1000000000, 100000000, 10000000, 1000000, 100000,
                                    10000,      1000,      100,      10,      1};
  int begun = 0;
  for (unsigned place = 0; place < sizeof powers / sizeof *powers; ++place) {
    char digit = '0';
    for (; number >= powers[place]; number -= powers[place])
      ++digit;
    begun |= digit > '0' || powers[place] == 1;
    if (begun)
      put_char(digit);
  }
}

#endif
