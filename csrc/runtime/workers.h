// The threads that work beside a caller. OpenMP makes them, here alone, so that its settings act on them; what they do
// is ours: OpenMP's own regions end when every thread has come, and one that lost its core for 4 ms holds up a kernel
// of 0.1 ms for as long.
#pragma once

namespace chainrule {

// Sees to it that `count` threads, or as many as OpenMP grants, have begun serve(rank) with rank 1, 2, ...; serve never
// returns, and the threads end with the process. One caller at a time.
void call_workers(int count, void (*serve)(int rank));

}  // namespace chainrule
