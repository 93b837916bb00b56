// matmul: C[i, j] = sum over k of A[i, k] B[k, j], for every matrix of a batch; A is (m, k), or lies as (k, m) with
//         transpose_a; B is (k, n), or lies as (n, k) with transpose_b.
//         dA = dC B^T, dB = A^T dC: products again.
#include "gemm.h"
#include "kernels.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

i64 batches_of(const Strided& batch) {
  i64 count = 1;
  for (i32 d = 0; d < batch.dims; d++) count *= batch.shape[d];
  return count;
}

i64 offset_of(const Strided& batch, i64 index, int operand) {
  i64 offset = 0;
  for (i32 d = batch.dims - 1; d >= 0; d--, index /= batch.shape[d + 1])
    offset += index % batch.shape[d] * batch.stride[operand][d];
  return offset;
}

template <class T>
Grid matmul_grid(i64 batches, i64 m, i64 n, i64 k, bool transpose_b) {
  const Grid g = grid_of<T>(batches, m, n, k);
  return transpose_b ? keeping(g) : g;
}

}  // namespace

template <class T>
i64 matmul_scratch(i64 batches, i64 m, i64 n, i64 k, i64 threads) {
  return products_scratch<T>(batches, matmul_grid<T>(batches, m, n, k, true), threads);  // the larger one
}

template <class T>
void matmul(Team& team, T* c, const T* a, const T* b, const Strided& batch, i64 m, i64 n, i64 k, i64 lda, i64 ldb,
            bool transpose_a, bool transpose_b, T* scratch) {
  const i64 batches = batches_of(batch);
  const Grid g = matmul_grid<T>(batches, m, n, k, transpose_b);
  const bool direct = worth_reading_direct<T>(g, ldb);
  const auto run = [&](auto rows, auto columns) {
    products(team, batches, g, scratch, [&, rows, columns](i64 i) {
      auto from_a = rows;
      auto from_b = columns;
      from_a.data = a + offset_of(batch, i, 1);
      from_b.data = b + offset_of(batch, i, 2);
      return product_of(c + offset_of(batch, i, 0), n, false, from_a, from_b, NoEpilogue{});
    });
  };
  const auto with_a = [&](auto rows) {
    if (transpose_b)
      run(rows, TransposedColumns<T>{b, ldb});
    else
      run(rows, PlainColumns<T>{b, ldb, direct});
  };
  if (transpose_a)
    with_a(TransposedRows<T>{a, lda, m});
  else
    with_a(PlainRows<T>{a, lda});
}

INSTANTIATE(matmul_scratch)
INSTANTIATE(matmul)

}  // namespace chainrule::CHAINRULE_ISA
