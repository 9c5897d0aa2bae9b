// Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Drives daqkf_array from files of hexadecimal numbers, and prints each row of results. All three
// streams pause at random. Registers and memories begin undefined, so that what depends on them
// before a reset or a write is seen in the results.

module bench #(
  parameter WORDS = 1, BEATS = 1, ROWS = 1, BITS = 8, LIMIT = 100000, SEED = 1
);
  reg clk = 0, rst = 1;
  reg [31:0] program_words [0:WORDS-1];
  reg [BITS-1:0] activations [0:BEATS-1];
  reg prog_tvalid = 0, x_tvalid = 0, y_tready = 0, prog_taken, x_taken;
  reg [31:0] prog_tdata;
  reg [BITS-1:0] x_tdata;
  wire prog_tready, x_tready, y_tvalid, y_tlast;
  wire [BITS-1:0] y_tdata;
  wire [2:0] status_phase;
  wire [3:0] status_error;
  integer words = 0, beats = 0, rows = 0, cycles = 0, seed = SEED;

  daqkf_array array(
    .clk(clk), .rst(rst),
    .prog_tdata(prog_tdata), .prog_tvalid(prog_tvalid), .prog_tready(prog_tready),
    .x_tdata(x_tdata), .x_tvalid(x_tvalid), .x_tready(x_tready),
    .y_tdata(y_tdata), .y_tvalid(y_tvalid), .y_tready(y_tready), .y_tlast(y_tlast),
    .status_phase(status_phase), .status_error(status_error)
  );

  always #5 clk = ~clk;

  initial begin
    $readmemh("program.hex", program_words);
    $readmemh("x.hex", activations);
    repeat (4) @(negedge clk);
    rst = 0;
    while (rows < ROWS && cycles < LIMIT) begin
      @(negedge clk);
      cycles = cycles + 1;
      if (!prog_tvalid && words < WORDS && $random(seed) % 4) begin
        prog_tvalid = 1;
        prog_tdata = program_words[words];
      end
      // The activations follow the whole program.
      if (!x_tvalid && words == WORDS && beats < BEATS && $random(seed) % 4) begin
        x_tvalid = 1;
        x_tdata = activations[beats];
      end
      y_tready = $random(seed) % 4 != 0;
      #1;
      if (y_tvalid === 1'b1 && y_tready) begin
        $display("%h", y_tdata);
        rows = rows + 1;
      end
      if (status_error !== 4'b0) begin
        $display("error %h", status_error);
        $finish;
      end
      prog_taken = prog_tvalid && prog_tready === 1'b1;
      x_taken = x_tvalid && x_tready === 1'b1;
      @(posedge clk);
      #1;
      if (prog_taken) begin
        prog_tvalid = 0;
        words = words + 1;
      end
      if (x_taken) begin
        x_tvalid = 0;
        beats = beats + 1;
      end
    end
    if (rows < ROWS) $display("stopped in phase %d", status_phase);
    $finish;
  end
endmodule
