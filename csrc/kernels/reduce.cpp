// Reductions. x is (outer, n, inner); y, values, indices, mean are (outer, inner): each combines the n elements of x at
// stride inner.
//   sum            y = Σ x
//   mean           y = Σ x / count
//   amax, amin     y = the largest, the smallest; NaN wins
//   max, min       the same as `values`, and in `indices` its first place (of the first NaN); n > 0
//   argmax, argmin the indices alone
//   var_mean       mean = Σ x / n, variance = Σ (x - mean)² / max(0, n - correction); n > 0
//
// Order, fixed by n and inner alone: elements in chunks (of a row where inner is 1, else of kColumnChunk rows), chunks
// in a pairwise tree. Where there are several chunks, their results go through `partials` (reduce_partials elements;
// var_mean twice that), so that threads can share one long reduction.
#include "kernels.h"
#include "rows.h"

namespace chainrule::CHAINRULE_ISA {
namespace {

constexpr i64 kColumnChunk = 128;
constexpr i64 kPanel = 1024;          // columns that one thread walks at once: 4 KB of each row, its accumulators in L1
constexpr i64 kTaskElements = 16384;  // 64 KB of float32: some 5 us

// The cut of (outer, n, inner): tasks are (outer, chunk, panel), panel fastest.
struct Cut {
  i64 n, inner, length, chunks, panel, panels, tasks, grain;
  CHAINRULE_INLINE Cut(i64 outer, i64 n, i64 inner, i64 panel)
      : n(n),
        inner(inner),
        length(inner == 1 ? kRowChunk : kColumnChunk),
        chunks(at_least<i64>(1, ceil_div(n, length))),
        panel(panel),
        panels(ceil_div(inner, panel)),
        tasks(outer * chunks * panels),
        grain(at_least<i64>(1, kTaskElements / at_least<i64>(1, at_most(n, length) * at_most(inner, panel)))) {}
  struct Task {
    i64 outer, chunk, first, rows, column, columns;
  };
  CHAINRULE_INLINE Task task(i64 t) const {
    if (chunks * panels == 1) return {t, 0, 0, n, 0, inner};  // short rows take less time than the divisions
    const i64 p = t % panels, c = t / panels % chunks;
    return {t / panels / chunks, c,
            c * length,          at_most(length, n - c * length),
            p * panel,           at_most(panel, inner - p * panel)};
  }
  CHAINRULE_INLINE i64 x(const Task& t) const { return (t.outer * n + t.first) * inner + t.column; }
  CHAINRULE_INLINE i64 partial(const Task& t) const { return (t.outer * chunks + t.chunk) * inner + t.column; }
  // What tasks [begin, end) give, one after the other where there is one chunk.
  struct Results {
    i64 first, count;
  };
  CHAINRULE_INLINE Results results(i64 begin, i64 end) const {
    const i64 first = partial(task(begin));
    const Task last = task(end - 1);
    return {first, partial(last) + last.columns - first};
  }
};

// acc = x's rows combined, eight at a time from first to last, the eights from first to last. So no sum has more than
// 8 + 16 terms in a row, and a visit of acc reads eight streams.
template <class Op, class T>
void reduce_columns(T* acc, const T* x, i64 rows, i64 stride, i64 columns) {
  i64 r = 0;
  do {
    const i64 group = at_most<i64>(8, rows - r);
    each_vec<T>(0, columns, [&](i64 j, auto lanes) {
      vec<T> a = Op::identity;
      for (i64 k = 0; k < group; k++) a = Op::combine(a, load(x + (r + k) * stride + j, lanes));
      store(acc + j, r == 0 ? a : Op::combine(load(acc + j, lanes), a), lanes);
    });
    r += 8;
  } while (r < rows);
}

template <class Op, class T>
void reduce_rows(T* y, const T* x, i64 rows, i64 n) {
  for (i64 r = 0; r < rows; r++, x += n)
    y[r] = reduce_row<Op, T>(n, [x](i64 j, auto lanes) { return load(x + j, lanes); });
}

// join(c, d) for every pair of the tree over chunks: d is added to c.
template <class F>
CHAINRULE_INLINE void pairwise(i64 chunks, F&& join) {
  for (i64 half = 1; half < chunks; half *= 2)
    for (i64 c = 0; c + half < chunks; c += 2 * half) join(c, c + half, half);
}

template <class Op, class T>
CHAINRULE_INLINE void reduce(Team& team, T* y, const T* x, i64 outer, i64 n, i64 inner, T divisor, T* partials) {
  const Cut cut(outer, n, inner, kPanel);
  T* const to = cut.chunks == 1 ? y : partials;
  const auto finish = [=](T* from, T* result, i64 columns) {
    each_vec<T>(0, columns, [=](i64 j, auto lanes) { store(result + j, load(from + j, lanes) / divisor, lanes); });
  };
  parallel_for(team, cut.tasks, cut.grain, [&](i64 begin, i64 end) {
    if (inner == 1 && cut.chunks == 1) {
      reduce_rows<Op>(y + begin, x + begin * n, end - begin, n);
    } else {
      for (i64 i = begin; i < end; i++) {
        const auto t = cut.task(i);
        const T* const from = x + cut.x(t);
        T* const acc = to + cut.partial(t);
        inner == 1 ? reduce_rows<Op>(acc, from, 1, t.rows) : reduce_columns<Op>(acc, from, t.rows, inner, t.columns);
      }
    }
    if (cut.chunks > 1 || divisor == T(1)) return;
    const auto done = cut.results(begin, end);
    finish(y + done.first, y + done.first, done.count);
  });
  if (cut.chunks == 1) return;
  team.barrier();
  parallel_for(team, outer * cut.panels, cut.grain, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const auto t = cut.task(i / cut.panels * cut.chunks * cut.panels + i % cut.panels);
      T* const p = partials + cut.partial(t);
      pairwise(cut.chunks, [=](i64 c, i64 d, i64) {
        each_vec<T>(0, t.columns, [=](i64 j, auto lanes) {
          T* const into = p + c * inner + j;
          store(into, Op::combine(load(into, lanes), load(p + d * inner + j, lanes)), lanes);
        });
      });
      finish(p, y + t.outer * inner + t.column, t.columns);
    }
  });
}

// The best value of a set and its first place.
template <class T>
struct Best {
  T value;
  i64 index;
};
template <class Op, class T>
CHAINRULE_INLINE bool wins(Best<T> a, Best<T> b) {
  const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
  if (a_nan != b_nan) return a_nan;
  return Op::beats(a.value, b.value) || (!Op::beats(b.value, a.value) && a.index < b.index);
}

// One vec of places at a time: lane l sees x[l], x[stride + l], ... and keeps the first of the best.
template <class Op, class T>
struct BestLanes {
  using I = typename int_of<T>::type;
  vec<T> value;
  vec<I> index;
  CHAINRULE_INLINE void offer(vec<T> v, vec<I> i) {
    const mask<T> better = Op::beats(v, value) | ((v != v) & (value == value));
    value = select<T>(better, v, value);
    index = select<I>(better, i, index);
  }
};

// The best value of all, then its first place: a row chunk is in the innermost cache for both looks.
template <class Op, class T>
Best<T> best_of_row(const T* x, i64 n) {
  constexpr i64 W = vec<T>::size, kBlock = 4 * W;
  const T best = reduce_row<Op, T>(n, [&](i64 i, auto lanes) { return load(x + i, lanes); });
  const auto found = [best](vec<T> v) { return u64(bits((v == best) | (v != v))); };  // no NaN unless it is the best
  i64 i = 0;
  for (; i + kBlock <= n; i += kBlock) {
    u64 block = 0;
    for (int k = 0; k < 4; k++) block |= found(load(x + i + k * W)) << (k * W);
    if (block) {
      i += __builtin_ctzll(block);
      return {x[i], i};
    }
  }
  for (; i < n; i += W)  // lanes beyond the row come after its last
    if (const u64 last = found(load(x + i, n - i))) {
      i = at_most(n - 1, i + __builtin_ctzll(last));
      return {x[i], i};
    }
  return {best, 0};  // somebody writes to x meanwhile
}

template <class Op, class T>
void best_of_columns(T* values, i64* indices, const T* x, i64 first_row, i64 rows, i64 stride, i64 columns) {
  using I = typename int_of<T>::type;
  each_vec<T>(0, columns, [&](i64 j, auto lanes) {
    BestLanes<Op, T> best = {load(x + j, lanes), I(0)};
    for (i64 r = 1; r < rows; r++) best.offer(load(x + r * stride + j, lanes), vec<I>(I(r)));
    if (values) store(values + j, best.value, lanes);
    I place[vec<T>::size];
    store(place, best.index);
    for (i64 l = 0; l < vec<T>::size && j + l < columns; l++) indices[j + l] = first_row + place[l];
  });
}

template <class Op, class T>
CHAINRULE_INLINE void find_best(Team& team, T* values, i64* indices, const T* x, i64 outer, i64 n, i64 inner,
                                T* partials, i64* partial_indices) {
  const Cut cut(outer, n, inner, vec<T>::size);
  T* const to = cut.chunks == 1 ? values : partials;
  i64* const places = cut.chunks == 1 ? indices : partial_indices;
  parallel_for(team, cut.tasks, cut.grain, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const auto t = cut.task(i);
      const i64 at = cut.partial(t);
      if (inner == 1) {
        const Best<T> best = best_of_row<Op>(x + cut.x(t), t.rows);
        if (to) to[at] = best.value;
        places[at] = t.first + best.index;
      } else {
        best_of_columns<Op>(to ? to + at : to, places + at, x + cut.x(t), t.first, t.rows, inner, t.columns);
      }
    }
  });
  if (cut.chunks == 1) return;
  team.barrier();
  parallel_for(team, outer * inner, at_least<i64>(1, kTaskElements / cut.chunks), [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const i64 at = i / inner * cut.chunks * inner + i % inner;
      Best<T> best = {partials[at], partial_indices[at]};
      for (i64 c = 1; c < cut.chunks; c++) {
        const Best<T> other = {partials[at + c * inner], partial_indices[at + c * inner]};
        if (wins<Op>(other, best)) best = other;
      }
      if (values) values[i] = best.value;
      indices[i] = best.index;
    }
  });
}

}  // namespace

template <class T>
i64 reduce_partials(i64 outer, i64 n, i64 inner) {
  const Cut cut(outer, n, inner, kPanel);
  return cut.chunks == 1 ? 0 : outer * cut.chunks * inner;
}

template <class T>
void sum(Team& team, T* y, const T* x, i64 outer, i64 n, i64 inner, T* partials) {
  reduce<Add<T>>(team, y, x, outer, n, inner, T(1), partials);
}

template <class T>
void mean(Team& team, T* y, const T* x, i64 outer, i64 n, i64 inner, T count, T* partials) {
  reduce<Add<T>>(team, y, x, outer, n, inner, count, partials);
}

template <class T>
void amax(Team& team, T* y, const T* x, i64 outer, i64 n, i64 inner, T* partials) {
  reduce<Max<T>>(team, y, x, outer, n, inner, T(1), partials);
}

template <class T>
void amin(Team& team, T* y, const T* x, i64 outer, i64 n, i64 inner, T* partials) {
  reduce<Min<T>>(team, y, x, outer, n, inner, T(1), partials);
}

template <class T>
void max(Team& team, T* values, i64* indices, const T* x, i64 outer, i64 n, i64 inner, T* partials,
         i64* partial_indices) {
  find_best<Max<T>>(team, values, indices, x, outer, n, inner, partials, partial_indices);
}

template <class T>
void min(Team& team, T* values, i64* indices, const T* x, i64 outer, i64 n, i64 inner, T* partials,
         i64* partial_indices) {
  find_best<Min<T>>(team, values, indices, x, outer, n, inner, partials, partial_indices);
}

template <class T>
void argmax(Team& team, i64* indices, const T* x, i64 outer, i64 n, i64 inner, T* partials, i64* partial_indices) {
  find_best<Max<T>>(team, (T*)nullptr, indices, x, outer, n, inner, partials, partial_indices);
}

template <class T>
void argmin(Team& team, i64* indices, const T* x, i64 outer, i64 n, i64 inner, T* partials, i64* partial_indices) {
  find_best<Min<T>>(team, (T*)nullptr, indices, x, outer, n, inner, partials, partial_indices);
}

template <class T>
void var_mean(Team& team, T* variance, T* mean, const T* x, i64 outer, i64 n, i64 inner, T correction, T* partials) {
  const Cut cut(outer, n, inner, vec<T>::size);
  const T divisor = at_least(T(0), T(n) - correction);
  T* const means = cut.chunks == 1 ? mean : partials;
  T* const squares = cut.chunks == 1 ? variance : partials + outer * cut.chunks * inner;
  const auto finish = [=](const T* from, T* result, i64 columns) {
    each_vec<T>(0, columns, [=](i64 j, auto lanes) { store(result + j, load(from + j, lanes) / divisor, lanes); });
  };
  parallel_for(team, cut.tasks, cut.grain, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const auto t = cut.task(i);
      const i64 at = cut.partial(t);
      if (inner == 1) {
        const Moments<T> m = row_moments(x + cut.x(t), t.rows);
        means[at] = m.mean;
        squares[at] = m.squares;
      } else {
        column_moments(means + at, squares + at, x + cut.x(t), t.rows, inner, t.columns);
      }
    }
    if (cut.chunks > 1) return;
    const auto done = cut.results(begin, end);
    finish(variance + done.first, variance + done.first, done.count);
  });
  if (cut.chunks == 1) return;
  team.barrier();
  parallel_for(team, outer * cut.panels, cut.grain, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const auto t = cut.task(i / cut.panels * cut.chunks * cut.panels + i % cut.panels);
      const i64 first = cut.partial(t), to = t.outer * inner + t.column;
      pairwise(cut.chunks, [=](i64 c, i64 d, i64 half) {
        const T count_c = T(half * cut.length), count_d = T(at_most(half * cut.length, n - d * cut.length));
        each_vec<T>(0, t.columns, [=](i64 j, auto lanes) {
          const i64 a = first + c * inner + j, b = first + d * inner + j;
          const Moments<vec<T>> both = join(Moments<vec<T>>{load(means + a, lanes), load(squares + a, lanes)}, count_c,
                                            Moments<vec<T>>{load(means + b, lanes), load(squares + b, lanes)}, count_d);
          store(means + a, both.mean, lanes);
          store(squares + a, both.squares, lanes);
        });
      });
      finish(squares + first, variance + to, t.columns);
      each_vec<T>(0, t.columns,
                  [=](i64 j, auto lanes) { store(mean + to + j, load(means + first + j, lanes), lanes); });
    }
  });
}

// Not INSTANTIATE: sum, max and min are also functions on vecs.
#define INSTANCES(T)                                                        \
  template i64 reduce_partials<T>(i64, i64, i64);                           \
  template void sum<T>(Team&, T*, const T*, i64, i64, i64, T*);             \
  template void mean<T>(Team&, T*, const T*, i64, i64, i64, T, T*);         \
  template void amax<T>(Team&, T*, const T*, i64, i64, i64, T*);            \
  template void amin<T>(Team&, T*, const T*, i64, i64, i64, T*);            \
  template void max<T>(Team&, T*, i64*, const T*, i64, i64, i64, T*, i64*); \
  template void min<T>(Team&, T*, i64*, const T*, i64, i64, i64, T*, i64*); \
  template void argmax<T>(Team&, i64*, const T*, i64, i64, i64, T*, i64*);  \
  template void argmin<T>(Team&, i64*, const T*, i64, i64, i64, T*, i64*);  \
  template void var_mean<T>(Team&, T*, T*, const T*, i64, i64, i64, T, T*);
INSTANCES(float)
INSTANCES(double)

}  // namespace chainrule::CHAINRULE_ISA
