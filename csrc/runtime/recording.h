// A recorded step: what a thread launched, in order, replayed in one parallel region.
#pragma once
#include <atomic>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "runtime/arena.h"
#include "runtime/fuse.h"
#include "runtime/node.h"
#include "runtime/random.h"

namespace chainrule {

// What can't be recorded.
struct RecordingError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Recording : private PassMemory {
 public:
  Recording();
  ~Recording() override;
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  // The recording that the calling thread makes; null while it makes none, or has paused it.
  static Recording* active();

  // From begin() to end() this thread's launches and blocks are the recording's.
  void begin();
  void end();
  // Before end(): whether nodes may be merged (fuse.h).
  void set_fusing(bool on) { fusing_ = on; }
  // What happens while paused belongs to no recording.
  void pause();
  void resume();

  // Runs nothing: between these two, each launch replaces the arguments of the node after the one before, from
  // `first` on. finish_refresh() says whether they were the same kernels, as many, on the same memory.
  void begin_refresh(size_t first, size_t count);
  bool finish_refresh();

  // While recording.
  // Blocks that are made while one lives are kept as they are for all replays: constants.
  class Kept {
   public:
    Kept() : recording_(active()) { keep(true); }
    ~Kept() { keep(false); }
    Kept(const Kept&) = delete;
    Kept& operator=(const Kept&) = delete;

   private:
    void keep(bool on) const {
      if (recording_) recording_->arena_->keep(on);
    }
    Recording* recording_;
  };
  bool add(std::unique_ptr<Node> node);           // false: don't run it (a refresh)
  void know(const void* begin, const void* end);  // memory from outside that the step may use
  void add_input(void* buffer, size_t bytes);     // a block of its own, filled before each replay
  void add_constant(void* block, size_t bytes);   // what it holds now, it holds when each replay begins
  void note_draw(std::shared_ptr<Generator> generator, RandomKey key);
  size_t size() const { return nodes_.size(); }
  bool owns(const void* address) const;

  // Afterwards.
  void set_input(size_t i, const void* source) { inputs_[i].source = {source, nullptr, 0}; }
  // The input is made of these rows of `table`, of row_bytes each; false where that many don't fill it.
  bool set_rows(size_t i, const void* table, const i64* rows, size_t count, size_t row_bytes);
  Node& node(size_t i) { return *nodes_[i]; }
  // Copies the inputs, checks, draws the keys, runs. Returns the check that failed, if one did: the step was then not
  // run, or ended there.
  const Node* replay();
  // A replay's turn: std::runtime_error while there is another.
  class Turn {
   public:
    explicit Turn(Recording& r) : busy_(r.busy_) {
      if (busy_.exchange(true, std::memory_order_acquire))
        throw std::runtime_error("this compiled step is already running, in another thread or further up the stack");
    }
    ~Turn() { busy_.store(false, std::memory_order_release); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    std::atomic<bool>& busy_;
  };
  double expected() const { return expected_; }  // nanoseconds that a replay takes

  struct Line {
    const Node* node;
    bool barrier;
    double nanoseconds;  // the least of the first replays
  };
  std::vector<Line> lines() const;
  i64 bytes() const { return arena_->bytes(); }
  int threads() const override { return threads_; }
  bool in_parallel() const { return mode_ == kParallel; }

 private:
  bool outlives(const Arena::Extent& block) const override;
  Arena::Extent add_block(size_t bytes) override;

  enum Mode { kUndecided, kSerial, kParallel };
  static constexpr i64 kFirstTrial = 64;
  struct Source {
    const void* from;
    const i64* rows;  // null: the input as it lies there
    size_t row_bytes;
  };
  struct Input {
    char* buffer;
    size_t bytes;
    Source source;
    bool early;  // copied before the region begins
    void fill(size_t begin, size_t end) const;
    size_t chunk() const;  // bytes, whole rows
  };
  struct Draw {
    std::shared_ptr<Generator> generator;
    RandomKey recorded;
    std::vector<RandomKey*> keys;
  };
  struct Place {  // in the replay's order
    Node* node;
    bool barrier;  // before it
    bool ends;     // a check: the replay may end behind it
  };

  struct Constant {
    char* block;
    std::vector<char> bytes;  // empty where nothing in the step writes to it
  };

  void plan();
  void plan_inputs();
  void link_keys();
  void copy_inputs(Team& team);
  void run(Team& team);
  Mode choose();
  void learn(Mode mode, double nanoseconds);

  Arena* arena_;
  std::vector<void*> added_;  // by passes
  int threads_;
  std::map<const char*, const char*> outside_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<Place> places_;
  std::vector<Node*> first_;  // checks of memory that the step doesn't write: made before anything runs
  std::vector<Input> inputs_;
  std::vector<Draw> draws_;
  std::vector<Constant> constants_;
  size_t refresh_at_ = 0, refresh_end_ = 0;
  bool refreshing_ = false, same_ = true, ready_ = false, fusing_ = true;

  Mode mode_ = kUndecided;
  bool both_ = false;  // either mode may be the better one
  int samples_[2] = {0, 0};
  double best_[2] = {0, 0};
  i64 replays_ = 0, again_at_ = kFirstTrial;  // the modes are compared anew, ever more seldom
  double expected_ = 0;
  std::vector<double> times_;
  bool timing_ = false;
  std::atomic<const Node*> failed_{nullptr};
  std::atomic<bool> busy_{false};
};

}  // namespace chainrule
