#include "runtime/recording.h"

#include <algorithm>
#include <cstring>

#include "runtime/clock.h"

namespace chainrule {
namespace {

constexpr size_t kCopyChunk = size_t(1) << 16;  // inputs under it are copied before the region begins
constexpr int kSamples = 6;            // replays of each mode before one is chosen, the first of them not counted
constexpr double kWorthWaiting = 0.1;  // of a replay's time, for threads that are late: without one it takes twice that
constexpr double kWorthTrying = 1e6;   // nanoseconds: beyond, one thread isn't tried

thread_local Recording* t_recording = nullptr;
thread_local bool t_paused = false;

bool overlap(const Arena::Extent& a, const Arena::Extent& b) { return a.begin < b.end && b.begin < a.end; }

}  // namespace

Recording* Recording::active() { return t_paused ? nullptr : t_recording; }

Recording::Recording() : arena_(Arena::make()), threads_(num_threads()) {}
Recording::~Recording() {
  for (void* block : added_) arena_->release(block);
  arena_->drop();
}

bool Recording::outlives(const Arena::Extent& block) const {
  Arena::Extent now;
  return block.number == 0 || (arena_->find(block.begin, &now) && now.number == block.number);
}

// Memory that no node has used: what is free now served some of them.
Arena::Extent Recording::add_block(size_t bytes) {
  arena_->keep(true);
  added_.push_back(arena_->allocate(bytes));
  arena_->keep(false);
  const char* begin = static_cast<const char*>(added_.back());
  return {begin, begin + bytes};
}

void Recording::begin() {
  t_recording = this;
  t_paused = false;
  Arena::set_current(arena_);
}

void Recording::end() {
  Arena::set_current(nullptr);
  t_recording = nullptr;
  t_paused = false;
  arena_->close();
  if (!ready_) {
    if (fusing_) fuse(nodes_, *this);
    plan();
    plan_inputs();
    link_keys();
  }
  ready_ = true;
}

void Recording::pause() {
  Arena::set_current(nullptr);
  t_paused = true;
}

void Recording::resume() {
  Arena::set_current(arena_);
  t_paused = false;
}

void Recording::begin_refresh(size_t first, size_t count) {
  refresh_at_ = first, refresh_end_ = first + count;
  refreshing_ = same_ = true;
  t_recording = this;
}

bool Recording::finish_refresh() {
  t_recording = nullptr;
  refreshing_ = false;
  return same_ && refresh_at_ == refresh_end_;
}

bool Recording::owns(const void* address) const {
  Arena::Extent extent;
  return arena_->find(address, &extent);
}

void Recording::know(const void* begin, const void* end) {
  const char *b = static_cast<const char*>(begin), *e = static_cast<const char*>(end);
  const char*& known = outside_[b];
  known = std::max(known, e == b ? b + 1 : e);
}

void Recording::add_input(void* buffer, size_t bytes) {
  inputs_.push_back({static_cast<char*>(buffer), bytes, {nullptr, nullptr, 0}, true});
}

void Recording::add_constant(void* block, size_t bytes) {
  char* begin = static_cast<char*>(block);
  constants_.push_back({begin, std::vector<char>(begin, begin + bytes)});
}

void Recording::note_draw(std::shared_ptr<Generator> generator, RandomKey key) {
  draws_.push_back({std::move(generator), key, {}});
}

bool Recording::add(std::unique_ptr<Node> node) {
  if (refreshing_) {
    same_ = same_ && refresh_at_ < refresh_end_ && nodes_[refresh_at_]->kernel == node->kernel;
    if (same_) {
      const auto before = nodes_[refresh_at_]->touches(), now = node->touches();
      same_ = before.size() == now.size();
      for (size_t i = 0; same_ && i < now.size(); i++) same_ = before[i].memory == now[i].memory;
    }
    if (same_) {
      Node& old = *nodes_[refresh_at_];
      node->uses = std::move(old.uses);
      node->serial = old.serial;
      for (Place& p : places_)
        if (p.node == &old) p.node = node.get();
      nodes_[refresh_at_++] = std::move(node);
    }
    return false;
  }
  for (const Node::Touch& t : node->touches()) {
    Arena::Extent extent;
    if (!arena_->find(t.memory, &extent)) {
      const char* at = static_cast<const char*>(t.memory);
      auto after = outside_.upper_bound(at);
      if (after == outside_.begin() || at >= std::prev(after)->second) {
        throw RecordingError("'" + node->name() +
                             "' was given an array that didn't come from a recorded operation: NumPy arrays that are "
                             "made inside of a compiled step can't be followed");
      }
      extent = {std::prev(after)->first, std::prev(after)->second};
    }
    if (t.written)
      for (const Input& in : inputs_)
        if (overlap(extent, {in.buffer, in.buffer + in.bytes}))
          throw RecordingError("the step writes to one of its arguments; clone() it first");
    node->uses.push_back({extent, t.written});
  }
  nodes_.push_back(std::move(node));
  return true;
}

// Checks of memory that nothing writes come first; else the order is kept. A barrier stands where a node uses what an
// earlier one since the last barrier wrote, or writes what it used; nodes of one thread follow each other on it anyway.
void Recording::plan() {
  const auto conflicts = [](const Node& a, const Node& b) {
    for (const Node::Use& x : a.uses)
      for (const Node::Use& y : b.uses)
        if ((x.written || y.written) && overlap(x.extent, y.extent)) return true;
    return false;
  };
  std::vector<const Node*> since;
  for (const auto& node : nodes_) {
    if (node->absorbed) continue;
    if (node->is_check()) {
      const bool written = std::any_of(nodes_.begin(), nodes_.end(), [&](const auto& other) {
        return !other->is_check() && conflicts(*node, *other);
      });
      if (!written) {
        const bool made = std::any_of(first_.begin(), first_.end(), [&](const Node* other) {
          return other->arguments() == node->arguments() && other->touches()[0].memory == node->touches()[0].memory;
        });
        if (!made) first_.push_back(node.get());
        continue;
      }
    }
    const bool barrier = std::any_of(since.begin(), since.end(), [&](const Node* earlier) {
      return !(earlier->serial && node->serial) && conflicts(*earlier, *node);
    });
    if (barrier) since.clear();
    since.push_back(node.get());
    places_.push_back({node.get(), barrier, node->is_check()});
  }
  times_.assign(places_.size(), 0);
  double cost = 0;
  for (const Place& p : places_) cost += p.node->cost;
  expected_ = cost;
  const bool alone =
      threads_ == 1 || std::all_of(places_.begin(), places_.end(), [](const Place& p) { return p.node->serial; });
  mode_ = alone ? kSerial : cost > kWorthTrying * threads_ ? kParallel : kUndecided;
  both_ = mode_ == kUndecided;
}

// Large inputs are copied by all threads, but for those that a check reads before. Constants that nothing writes need
// no second copy.
void Recording::plan_inputs() {
  for (Input& in : inputs_) {
    in.early = in.bytes < kCopyChunk;
    for (const Node* check : first_)
      for (const Node::Use& use : check->uses)
        in.early = in.early || overlap(use.extent, {in.buffer, in.buffer + in.bytes});
  }
  for (Constant& c : constants_) {
    bool written = false;
    for (const auto& node : nodes_)
      for (const Node::Use& use : node->uses)
        written = written || (use.written && overlap(use.extent, {c.block, c.block + c.bytes.size()}));
    if (!written) c.bytes = {};
  }
}

// A node's key was drawn while recording where the generator said so; any other is a constant.
void Recording::link_keys() {
  for (const auto& node : nodes_) {
    auto* key = static_cast<RandomKey*>(node->find(typeid(RandomKey)));
    if (!key) continue;
    for (Draw& d : draws_)
      if (d.recorded.seed == key->seed && d.recorded.offset == key->offset) {
        d.keys.push_back(key);
        break;
      }
  }
}

bool Recording::set_rows(size_t i, const void* table, const i64* rows, size_t count, size_t row_bytes) {
  inputs_[i].source = {table, rows, row_bytes};
  return count * row_bytes == inputs_[i].bytes;
}

size_t Recording::Input::chunk() const {
  if (!source.rows || source.row_bytes == 0) return kCopyChunk;
  return std::max<size_t>(kCopyChunk / source.row_bytes, 1) * source.row_bytes;
}

void Recording::Input::fill(size_t begin, size_t end) const {
  const char* from = static_cast<const char*>(source.from);
  if (!source.rows) {
    std::memcpy(buffer + begin, from + begin, end - begin);
    return;
  }
  for (size_t at = begin; at < end; at += source.row_bytes)
    std::memcpy(buffer + at, from + size_t(source.rows[at / source.row_bytes]) * source.row_bytes, source.row_bytes);
}

void Recording::copy_inputs(Team& team) {
  bool any = false;
  for (const Input& in : inputs_) {
    if (in.early) continue;
    any = true;
    const size_t size = in.chunk();
    const i64 chunks = i64((in.bytes + size - 1) / size);
    team.next_loop();
    for (i64 chunk; team.take(chunks, &chunk);) {
      const size_t begin = size_t(chunk) * size;
      in.fill(begin, std::min(begin + size, in.bytes));
    }
  }
  if (any) team.barrier();
}

void Recording::run(Team& team) {
  copy_inputs(team);
  Team solo = team.solo();
  const bool lead = team.rank() == 0, shared = team.size() > 1, timed = timing_ && lead;
  double before = timed ? double(now_ns()) : 0;
  for (size_t i = 0; i < places_.size(); i++) {
    const Place& p = places_[i];
    if (p.barrier) team.barrier();
    if (!p.node->serial && shared)
      p.node->run(team);
    else if (lead)
      p.node->run(solo);
    if (p.ends) {
      if (lead && !p.node->passes()) failed_.store(p.node, std::memory_order_relaxed);
      team.barrier();
      if (failed_.load(std::memory_order_relaxed)) return;
    }
    if (timed) {
      const double now = double(now_ns());
      times_[i] = times_[i] == 0 ? now - before : std::min(times_[i], now - before);
      before = now;
    }
  }
}

// A choice that was made while another program took a core would last forever: so it is made again after 64 replays,
// after 128, and so on.
Recording::Mode Recording::choose() {
  if (both_ && ++replays_ == again_at_) {
    again_at_ *= 2;
    mode_ = kUndecided;
    samples_[0] = samples_[1] = 0;
  }
  if (mode_ != kUndecided) return mode_;
  return samples_[0] <= samples_[1] ? kSerial : kParallel;
}

void Recording::learn(Mode mode, double nanoseconds) {
  const int k = mode == kParallel;
  if (++samples_[k] > 1) best_[k] = samples_[k] == 2 ? nanoseconds : std::min(best_[k], nanoseconds);
  if (samples_[k] > 1) expected_ = best_[k];
  if (mode_ == kUndecided && samples_[0] >= kSamples && samples_[1] >= kSamples) {
    mode_ = best_[1] < best_[0] ? kParallel : kSerial;
    expected_ = best_[mode_ == kParallel];
  }
}

const Node* Recording::replay() {
  for (const Input& in : inputs_)
    if (in.early) in.fill(0, in.bytes);
  for (const Node* check : first_)
    if (!check->passes()) return check;
  for (const Constant& c : constants_)
    if (!c.bytes.empty()) std::memcpy(c.block, c.bytes.data(), c.bytes.size());
  for (const Draw& d : draws_) {
    const RandomKey key = d.generator->next();
    for (RandomKey* k : d.keys) *k = key;
  }
  failed_ = nullptr;
  const Mode mode = choose();
  const bool learning = samples_[mode == kParallel] < kSamples;
  timing_ = learning;
  const i64 start = learning ? now_ns() : 0;
  run_region(mode == kParallel ? threads_ : 1,
             {[](void* self, Team& team) { static_cast<Recording*>(self)->run(team); }, this, false, Joining::at_start,
              i64(expected_ * kWorthWaiting)});
  if (learning) learn(mode, double(now_ns() - start));
  return failed_.load();
}

std::vector<Recording::Line> Recording::lines() const {
  std::vector<Line> lines;
  for (const Node* check : first_) lines.push_back({check, false, 0});
  for (size_t i = 0; i < places_.size(); i++) lines.push_back({places_[i].node, places_[i].barrier, times_[i]});
  return lines;
}

}  // namespace chainrule
