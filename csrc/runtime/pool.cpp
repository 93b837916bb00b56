#include "runtime/pool.h"

#include <pthread.h>

#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <new>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace chainrule {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kKeeps = false;  // every block comes from the system at its exact size, so that the sanitizer sees it
#else
constexpr bool kKeeps = true;
#endif

constexpr size_t kAlign = 64;
constexpr size_t kLargest = size_t(1) << 47;           // beyond any address space: refused before sizes overflow
constexpr size_t kHugePage = size_t(2) << 20;          // blocks of this size or more are asked to lie in huge pages
constexpr size_t kSlack = size_t(64) << 20;            // what is kept beside a quarter of the peak, see trim()
constexpr int kSmallClasses = 16, kSteps = 8;          // multiples of 64 up to 1 KB, then 8 classes for each doubling
constexpr int kClasses = kSmallClasses + kSteps * 38;  // up to 2^48

// Before each block, in the 64 bytes that keep it aligned.
struct alignas(kAlign) Header {
  size_t bytes;  // of header and block: what the system gave
  int size_class;
  Header* next;  // in the list of kept blocks
};
static_assert(sizeof(Header) == kAlign, "the block behind it is aligned");

struct SizeClass {
  int index;
  size_t bytes;
};

// The smallest class that holds `bytes`: at most 1/8 is wasted, nothing of a power of two.
SizeClass class_of(size_t bytes) {
  constexpr size_t kSmall = kSmallClasses * kAlign;
  if (bytes <= kSmall) {
    const size_t units = bytes ? (bytes + kAlign - 1) / kAlign : 1;
    return {int(units) - 1, units * kAlign};
  }
  const int doubling = 63 - __builtin_clzll(bytes - 1);  // 2^doubling < bytes <= 2^(doubling + 1)
  const size_t step = (size_t(1) << doubling) / kSteps, steps = (bytes - (size_t(1) << doubling) + step - 1) / step;
  return {kSmallClasses + (doubling - 10) * kSteps + int(steps) - 1, (size_t(1) << doubling) + steps * step};
}

Header* system_allocate(size_t bytes) {
#ifdef __linux__
  if (kKeeps && bytes >= kHugePage) {
    // Mapped by itself, so that giving it back frees it, and at a huge page's boundary.
    void* p = mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return nullptr;
    char *begin = static_cast<char*>(p), *end = begin + bytes + kHugePage;
    char* block = begin + (kHugePage - reinterpret_cast<uintptr_t>(begin) % kHugePage) % kHugePage;
    if (block > begin) munmap(begin, size_t(block - begin));
    if (end > block + bytes) munmap(block + bytes, size_t(end - block - bytes));
    madvise(block, bytes, MADV_HUGEPAGE);  // a wish: a kernel without huge pages refuses it
    return reinterpret_cast<Header*>(block);
  }
#endif
  void* p = nullptr;
  return posix_memalign(&p, kAlign, bytes) ? nullptr : static_cast<Header*>(p);
}

void system_release(Header* h) {
#ifdef __linux__
  if (kKeeps && h->bytes >= kHugePage) {
    munmap(h, h->bytes);
    return;
  }
#endif
  std::free(h);
}

class Pool {
 public:
  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }

  void* allocate(size_t wanted) {
    if (wanted > kLargest) throw std::bad_alloc();
    const SizeClass c = class_of(wanted);
    const size_t bytes = (kKeeps ? c.bytes : wanted) + sizeof(Header);
    {
      const std::lock_guard<Pool> guard(*this);
      stats_.allocations++;
      used_[c.index] = stats_.allocations;
      if (Header* h = kept_[c.index]) {
        kept_[c.index] = h->next;
        stats_.reuses++;
        count(i64(h->bytes));
        return h + 1;
      }
    }
    Header* h = system_allocate(bytes);
    if (!h) {
      empty();
      h = system_allocate(bytes);
    }
    if (!h) throw std::bad_alloc();
    h->bytes = bytes;
    h->size_class = c.index;
    const std::lock_guard<Pool> guard(*this);
    stats_.reserved_bytes += i64(h->bytes);
    count(i64(h->bytes));
    trim();
    return h + 1;
  }

  void release(void* block) {
    Header* h = static_cast<Header*>(block) - 1;
    const std::lock_guard<Pool> guard(*this);
    stats_.allocated_bytes -= i64(h->bytes);
    if (kKeeps) {
      h->next = kept_[h->size_class];
      kept_[h->size_class] = h;
    } else {
      give_back(h);
    }
  }

  void empty() {
    const std::lock_guard<Pool> guard(*this);
    for (int i = 0; i < kClasses; i++) empty_class(i);
  }

  MemoryStats stats() {
    const std::lock_guard<Pool> guard(*this);
    return stats_;
  }

 private:
  void count(i64 bytes) {
    stats_.allocated_bytes += bytes;
    if (stats_.allocated_bytes > stats_.peak_allocated_bytes) stats_.peak_allocated_bytes = stats_.allocated_bytes;
  }

  void give_back(Header* h) {
    stats_.reserved_bytes -= i64(h->bytes);
    system_release(h);
  }

  void empty_class(int i) {
    while (Header* h = kept_[i]) {
      kept_[i] = h->next;
      give_back(h);
    }
  }

  // The pool never holds more than 1.25 times the most that was in use at once, plus 64 MB: a loop over ever new shapes
  // doesn't pile up blocks. The classes that weren't asked for the longest go first.
  void trim() {
    const i64 most = stats_.peak_allocated_bytes + stats_.peak_allocated_bytes / 4 + i64(kSlack);
    while (stats_.reserved_bytes > most) {
      int oldest = -1;
      for (int i = 0; i < kClasses; i++)
        if (kept_[i] && (oldest < 0 || used_[i] < used_[oldest])) oldest = i;
      if (oldest < 0) return;
      empty_class(oldest);
    }
  }

  std::mutex mutex_;
  Header* kept_[kClasses] = {};
  i64 used_[kClasses] = {};  // the number of the allocation that last asked for the class
  MemoryStats stats_ = {};
};

// Never destroyed: arrays outlive the module's statics, and a daemon thread may release one while the process exits.
Pool& pool() {
  static Pool* const one = [] {
    static Pool* made;  // for the handlers, which take no argument
    made = new Pool;
    pthread_atfork([] { made->lock(); }, [] { made->unlock(); }, [] { made->unlock(); });
    return made;
  }();
  return *one;
}

}  // namespace

void* pool_allocate(size_t bytes) { return pool().allocate(bytes); }
void pool_release(void* block) {
  if (block) pool().release(block);
}
MemoryStats memory_stats() { return pool().stats(); }
void empty_cache() { pool().empty(); }

}  // namespace chainrule
