#include "runtime/arena.h"

#include <algorithm>
#include <new>

#include "runtime/pool.h"

namespace chainrule {
namespace {

constexpr size_t kAlign = 64, kFirstSlab = size_t(1) << 16, kLargestSlab = size_t(1) << 25;

thread_local Arena* t_current = nullptr;

}  // namespace

Arena* Arena::current() { return t_current; }
void Arena::set_current(Arena* arena) { t_current = arena; }

Arena::~Arena() {
  for (void* slab : slabs_) pool_release(slab);
}

void Arena::hold() {
  const std::lock_guard<std::mutex> guard(mutex_);
  holds_++;
}

void Arena::drop() {
  bool last;
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    last = --holds_ == 0;
  }
  if (last) delete this;
}

// The smallest piece that is large enough, the first of several.
char* Arena::fit(std::map<char*, size_t>& pieces, size_t bytes) {
  auto best = pieces.end();
  for (auto piece = pieces.begin(); piece != pieces.end(); ++piece)
    if (piece->second >= bytes && (best == pieces.end() || piece->second < best->second)) best = piece;
  if (best == pieces.end()) return nullptr;
  char* begin = best->first;
  const size_t left = best->second - bytes;
  pieces.erase(best);
  if (left) pieces[begin + bytes] = left;
  return begin;
}

// Half of what there is, so that there are few slabs; what is large gets one of its own size. Few blocks follow when
// the recording is complete.
void Arena::add_slab(std::map<char*, size_t>& pieces, size_t bytes) {
  const size_t more = closed_ ? 0 : std::min(size_t(total_) / 2 / kAlign * kAlign, kLargestSlab);
  const size_t slab = std::max({bytes, kFirstSlab, more});
  char* memory = static_cast<char*>(pool_allocate(slab));
  slabs_.push_back(memory);
  total_ += i64(slab);
  pieces[memory] = slab;
}

void* Arena::allocate(size_t wanted) {
  if (wanted > size_t(1) << 47) throw std::bad_alloc();
  const size_t bytes = (std::max<size_t>(wanted, 1) + kAlign - 1) / kAlign * kAlign;
  const std::lock_guard<std::mutex> guard(mutex_);
  std::map<char*, size_t>& pieces = keeping_ ? fresh_ : free_;
  char* begin = fit(pieces, bytes);
  if (!begin) {
    add_slab(pieces, bytes);
    begin = fit(pieces, bytes);
  }
  used_[begin] = {bytes, keeping_, ++blocks_};
  holds_++;
  return begin;
}

void Arena::release(void* block) {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    const auto used = used_.find(static_cast<char*>(block));
    if (!closed_ && !used->second.kept) {
      char* begin = used->first;
      size_t bytes = used->second.bytes;
      used_.erase(used);
      auto after = free_.lower_bound(begin);
      if (after != free_.end() && begin + bytes == after->first) {
        bytes += after->second;
        after = free_.erase(after);
      }
      // Slabs that happen to be neighbours have the pool's header between them.
      if (after != free_.begin() && std::prev(after)->first + std::prev(after)->second == begin)
        std::prev(after)->second += bytes;
      else
        free_[begin] = bytes;
    }
  }
  drop();
}

void Arena::close() {
  const std::lock_guard<std::mutex> guard(mutex_);
  closed_ = true;
}

bool Arena::find(const void* address, Extent* extent) const {
  const std::lock_guard<std::mutex> guard(mutex_);
  const char* at = static_cast<const char*>(address);
  auto after = used_.upper_bound(const_cast<char*>(at));
  if (after == used_.begin()) return false;
  const auto& [begin, block] = *std::prev(after);
  if (at >= begin + block.bytes) return false;
  *extent = {begin, begin + block.bytes, block.number};
  return true;
}

i64 Arena::bytes() const {
  const std::lock_guard<std::mutex> guard(mutex_);
  return total_;
}

}  // namespace chainrule
