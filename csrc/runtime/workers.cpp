#include "runtime/workers.h"

#include <omp.h>
#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <initializer_list>

namespace chainrule {
namespace {

struct Crew {
  int first, count;
  void (*serve)(int rank);
};
std::atomic<int> g_asked{0};

void* lead(void* given) {
  const Crew crew = *static_cast<Crew*>(given);
  delete static_cast<Crew*>(given);
#pragma omp parallel num_threads(crew.count)
  crew.serve(crew.first + omp_get_thread_num());
  return nullptr;
}

}  // namespace

void call_workers(int count, void (*serve)(int rank)) {
  const int asked = g_asked.load(std::memory_order_relaxed);
  if (asked >= count) return;
  // One parallel region that never ends, led by a thread of its own. Signals are for the caller's threads, but those of
  // a fault: blocked, they would end the process before a handler (Python's faulthandler) could say where.
  sigset_t others, before;
  sigfillset(&others);
  for (int fault : {SIGSEGV, SIGBUS, SIGILL, SIGFPE}) sigdelset(&others, fault);
  pthread_sigmask(SIG_SETMASK, &others, &before);
  pthread_t leader;
  Crew* const crew = new Crew{asked + 1, count - asked, serve};
  if (pthread_create(&leader, nullptr, lead, crew) == 0) {
    pthread_detach(leader);
    g_asked.store(count, std::memory_order_relaxed);
  } else {
    delete crew;  // the caller works alone, and asks again next time
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace chainrule
