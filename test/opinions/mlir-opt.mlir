// REQUIRES: mlir-opt
// DEFINE: %{file} =
// DEFINE: %{mlir} = mlir-opt --allow-unregistered-dialect --mlir-print-op-generic
// DEFINE: %{first} = daqkf-opt %{file} --print-op-generic | %{mlir} > %t.1
// DEFINE: %{second} = daqkf-opt %t.1 --print-op-generic | %{mlir} > %t.2
// DEFINE: %{check} = %{first} && %{second} && diff %t.1 %t.2

// REDEFINE: %{file} = %S/../dialects/nn/ops.mlir
// RUN: %{check}
// REDEFINE: %{file} = %S/../dialects/spaq/ops.mlir
// RUN: %{check}
// REDEFINE: %{file} = %S/../dialects/dfke/ops.mlir
// RUN: %{check}
// REDEFINE: %{file} = %S/../dialects/rpea/ops.mlir
// RUN: %{check}

// MLIR reads the generic form of each dialect, and what it prints means the same to this project.
