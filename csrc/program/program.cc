// Programs: see fastseq/program.h.
//
// A session is what a call of certain sizes needs: a plan of every node, and memory. Values that are not needed at the
// same time share memory. Sessions are kept when a call ends, and taken by the next call of the same sizes.
#include "fastseq/program.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>
#include <mutex>
#include <new>

#include "common/checks.h"
#include "fastseq/memory.h"
#include "fastseq/operation_list.h"
#include "fastseq/runtime.h"
#include "node.h"
#include "runtime/patient_lock.h"
#include "runtime/settings.h"

namespace fastseq {
namespace {

// The memory between nodes that a call may have before a batch is divided into pieces: what fits a last-level cache.
constexpr size_t kMostSessionBytes = size_t{32} << 20;
// What is kept for later calls.
constexpr size_t kMostIdleSessions = 16;
constexpr size_t kMostIdleBytes = size_t{256} << 20;

size_t index_of(int64_t value) { return static_cast<size_t>(value); }

size_t bytes_of(const Array& array) { return array_bytes(array.dtype, array.shape, array.rank); }

// The sum of two sizes. Throws std::bad_alloc where no memory is as large.
size_t sum(size_t a, size_t b) {
  size_t both = 0;
  if (__builtin_add_overflow(a, b, &both) || both > PTRDIFF_MAX / 2) throw std::bad_alloc();
  return both;
}

size_t aligned(size_t bytes) { return sum(bytes, kMemoryAlignment - 1) / kMemoryAlignment * kMemoryAlignment; }

bool same_sizes(const Array& a, const Array& b) {
  return a.dtype == b.dtype && a.rank == b.rank && std::equal(a.shape, a.shape + a.rank, b.shape);
}

Status labelled(const std::string& label, const Status& status) {
  const std::string message = label + ": " + status.message();
  switch (status.code()) {
    case StatusCode::kInvalidDtype:
      return Status::invalid_dtype(message);
    case StatusCode::kOutOfMemory:
      return Status::out_of_memory(message);
    case StatusCode::kUnavailable:
      return Status::unavailable(message);
    default:
      return Status::invalid_argument(message);
  }
}

// Gives values places in memory, so that those which are needed at the same time do not overlap.
class Places {
 public:
  size_t take(size_t bytes) {
    size_t at = 0;
    auto before = taken_.begin();
    for (; before != taken_.end() && before->first < sum(at, bytes); ++before) at = before->first + before->second;
    taken_.insert(before, {at, bytes});
    end_ = std::max(end_, sum(at, bytes));
    return at;
  }
  void give_back(size_t at, size_t bytes) {
    taken_.erase(std::find(taken_.begin(), taken_.end(), std::pair(at, bytes)));
  }
  size_t end() const { return end_; }

 private:
  std::vector<std::pair<size_t, size_t>> taken_;  // beginnings and sizes, in order
  size_t end_ = 0;
};

struct Session {
  std::vector<Array> inputs;  // without data; the key, with the next two
  int threads;
  const Isa* isa;

  std::vector<std::unique_ptr<Node>> nodes;
  std::vector<Array> values;
  std::vector<std::shared_ptr<Memory>> prepared;
  size_t bytes = 0;
  Memory memory;
  char* scratch = nullptr;

  bool fits(const std::vector<Array>& of, int its_threads, const Isa* its_isa) const {
    return threads == its_threads && isa == its_isa &&
           std::equal(inputs.begin(), inputs.end(), of.begin(), of.end(), same_sizes);
  }
};

Status make_node(const ProgramNode& description, int64_t* next_value, std::unique_ptr<Node>* node) {
  Status status = Status::invalid_argument("there is no operation '" + description.operation + "' for a program");
  ProgramOperations::find(description.operation, [&](auto* null) {
    status = StatedNode<std::remove_pointer_t<decltype(null)>>::make(description, next_value, node);
  });
  return status;
}

}  // namespace

class Program::Call {
 public:
  int64_t batch = 0;
  int64_t piece = 0;  // rows of a piece; the last one may be smaller
  int threads = 0;
  std::unique_ptr<Session> whole, rest;  // for a piece, and for the last one
  Implementation* program = nullptr;
};

class Program::Implementation {
 public:
  Status make(const ProgramGraph& graph) {
    constants_ = graph.constants;
    inputs_ = graph.inputs;
    outputs_ = graph.outputs;
    auto known = static_cast<int64_t>(constants_.size() + inputs_.size());
    int64_t count = known;
    for (const ProgramNode& node : graph.nodes) count += static_cast<int64_t>(node.outputs.size());
    values_ = count;
    for (const ProgramNode& node : graph.nodes) {
      const std::string label = node.label.empty() ? node.operation : node.label + " (" + node.operation + ")";
      for (const auto& [name, value] : node.inputs)
        if (value < 0 || value >= known)
          return labelled(label, Status::invalid_argument(name + " must be a value before this node, got " +
                                                          std::to_string(value)));
      for (const auto& [name, value] : node.outputs)
        if (value != known++)
          return labelled(label, Status::invalid_argument(name + " must be value " + std::to_string(known - 1) +
                                                          ", got " + std::to_string(value)));
      std::unique_ptr<Node> made;
      const Status status = make_node(node, &values_, &made);
      if (!status.ok()) return labelled(label, status);
      nodes_.push_back(std::move(made));
      labels_.push_back(label);
    }
    if (inputs_.empty()) return Status::invalid_argument("a program must have an input");
    for (const int64_t value : outputs_)
      if (value < static_cast<int64_t>(constants_.size()) || value >= known)
        return Status::invalid_argument("outputs must be inputs or results of nodes, got value " +
                                        std::to_string(value));
    find_lifetimes();
    return {};
  }

  Status begin(const std::vector<Array>& inputs, int threads, CallPointer* made, std::vector<Array>* outputs) {
    FASTSEQ_RETURN_IF_ERROR(check_inputs(inputs));
    CallPointer call(new Call);
    call->program = this;
    call->batch = call->piece = inputs[0].shape[0];
    call->threads = threads;
    FASTSEQ_RETURN_IF_ERROR(take_session(inputs, threads, call->batch > 1, &call->whole));
    if (!call->whole->scratch) {
      const double share = static_cast<double>(kMostSessionBytes) / static_cast<double>(call->whole->bytes);
      call->piece = std::max<int64_t>(1, static_cast<int64_t>(share * static_cast<double>(call->batch)));
      FASTSEQ_RETURN_IF_ERROR(take_session(with_batch(inputs, call->piece), threads, false, &call->whole));
      if (call->batch % call->piece > 0)
        FASTSEQ_RETURN_IF_ERROR(
            take_session(with_batch(inputs, call->batch % call->piece), threads, false, &call->rest));
    }
    outputs->clear();
    for (const int64_t value : outputs_) {
      const Array& output = call->whole->values[index_of(value)];
      if (output.rank < 1 || output.shape[0] != call->piece)
        return Status::invalid_argument("the first axis of output " + std::to_string(outputs->size()) +
                                        " must be the batch, of " + std::to_string(call->piece) +
                                        " rows; it has shape " + shape_text(output.shape, output.rank, output.rank));
      outputs->push_back(output);
    }
    *outputs = with_batch(*outputs, call->batch);
    *made = std::move(call);
    return {};
  }

  Status run(Call& call, const std::vector<Array>& inputs, const std::vector<Array>& outputs,
             std::vector<NodeProfile>* profile) {
    const ThreadsOfCalls threads(call.threads);
    if (profile) profile->assign(nodes_.size(), {});
    int64_t row = 0;
    do {
      const bool last = row + call.piece > call.batch;
      Session& session = last && call.rest ? *call.rest : *call.whole;
      FASTSEQ_RETURN_IF_ERROR(run_piece(session, row, inputs, outputs, profile));
      row += call.piece;
    } while (row < call.batch);
    return {};
  }

  // Keeps a session for a later call; if that fails, it is gone.
  void keep(std::unique_ptr<Session> session) noexcept {
    if (!session || !session->scratch || session->bytes > kMostIdleBytes) return;
    const PatientLock lock(mutex_);
    if (!lock) return;
    try {
      idle_.push_back(std::move(session));
    } catch (...) {
      return;
    }
    const auto bytes = [&] {
      size_t sum = 0;
      for (const std::unique_ptr<Session>& one : idle_) sum += one->bytes;
      return sum;
    };
    while (idle_.size() > kMostIdleSessions || bytes() > kMostIdleBytes) idle_.erase(idle_.begin());
  }

  size_t bytes() {
    const PatientLock lock(mutex_);
    size_t bytes = 0;
    if (!lock) return bytes;
    for (const std::unique_ptr<Session>& session : idle_) bytes += session->bytes;
    for (const Prepared& one : prepared_) bytes += one.bytes;
    return bytes;
  }

 private:
  struct Prepared {
    size_t node;
    Node::PreparedKind kind;
    size_t bytes;
    std::shared_ptr<Memory> memory;
  };

  static std::vector<Array> with_batch(std::vector<Array> arrays, int64_t batch) {
    for (Array& array : arrays) array.shape[0] = batch;
    return arrays;
  }

  // The node after which a value is not needed; a view needs the value that it shows.
  void find_lifetimes() {
    last_use_.assign(index_of(values_), -1);
    shown_.resize(index_of(values_));
    for (int64_t v = 0; v < values_; ++v) shown_[index_of(v)] = v;
    for (size_t i = 0; i < nodes_.size(); ++i) {
      for (const int64_t value : nodes_[i]->reads()) use(value, i);
      for (const int64_t value : nodes_[i]->writes()) use(value, i);
      if (nodes_[i]->is_view()) shown_[index_of(nodes_[i]->writes()[0])] = shown_[index_of(nodes_[i]->reads()[0])];
    }
    // What is in the caller's memory: the first time that a value is an output, unless it is a view or an input.
    given_.assign(index_of(values_), -1);
    for (size_t i = 0; i < outputs_.size(); ++i) {
      const size_t value = index_of(outputs_[i]);
      const bool computed = value >= constants_.size() + inputs_.size() && shown_[value] == outputs_[i];
      if (computed && given_[value] < 0)
        given_[value] = static_cast<int64_t>(i);
      else
        copied_.push_back(i);
      use(outputs_[i], nodes_.size());
    }
  }
  void use(int64_t value, size_t node) {
    auto& last = last_use_[index_of(shown_[index_of(value)])];
    last = std::max(last, static_cast<int64_t>(node));
  }

  Status check_inputs(const std::vector<Array>& inputs) const {
    if (inputs.size() != inputs_.size())
      return Status::invalid_argument("expected " + std::to_string(inputs_.size()) + " inputs, got " +
                                      std::to_string(inputs.size()));
    for (size_t i = 0; i < inputs.size(); ++i) {
      const ProgramInput& expected = inputs_[i];
      const Array& input = inputs[i];
      const char* name = expected.name.c_str();
      switch (expected.kind) {
        case ProgramInput::Kind::kFloat32:
          FASTSEQ_RETURN_IF_ERROR(check_dtype(name, input, DType::kFloat32));
          break;
        case ProgramInput::Kind::kFloat64:
          FASTSEQ_RETURN_IF_ERROR(check_dtype(name, input, DType::kFloat64));
          break;
        case ProgramInput::Kind::kIntegers:
          FASTSEQ_RETURN_IF_ERROR(check_integer(name, input));
          break;
        case ProgramInput::Kind::kBools:
          FASTSEQ_RETURN_IF_ERROR(check_dtype(name, input, DType::kBool));
          break;
      }
      if (input.rank != expected.rank || input.rank < 1 || input.rank > Array::kMaxRank)
        return Status::invalid_argument(expected.name + " must have " + std::to_string(expected.rank) +
                                        " dimensions, got shape " + shape_text(input.shape, input.rank, input.rank));
      FASTSEQ_RETURN_IF_ERROR(check_sizes(name, input.shape, input.rank));
      if (input.shape[0] != inputs[0].shape[0])
        return Status::invalid_argument("all inputs must have the same number of rows: " + inputs_[0].name + " has " +
                                        std::to_string(inputs[0].shape[0]) + ", " + expected.name + " has " +
                                        std::to_string(input.shape[0]));
    }
    return {};
  }

  // With `divisible`, a session that needs much memory has none: it only tells the sizes.
  Status take_session(const std::vector<Array>& inputs, int threads, bool divisible, std::unique_ptr<Session>* taken) {
    const ThreadsOfCalls of_calls(threads);
    const Isa* isa = nullptr;
    FASTSEQ_RETURN_IF_ERROR(current_isa(&isa));
    if (const PatientLock lock(mutex_); lock)
      for (auto idle = idle_.rbegin(); idle != idle_.rend(); ++idle)
        if ((*idle)->fits(inputs, num_threads(), isa)) {
          *taken = std::move(*idle);
          idle_.erase(std::next(idle).base());
          return {};
        }
    auto session = std::make_unique<Session>();
    session->inputs = inputs;
    session->threads = num_threads();
    session->isa = isa;
    FASTSEQ_RETURN_IF_ERROR(plan(*session, divisible));
    *taken = std::move(session);
    return {};
  }

  // Plans all nodes, and takes memory unless `divisible` and it is much.
  Status plan(Session& session, bool divisible) {
    session.values.assign(index_of(values_), {});
    std::copy(constants_.begin(), constants_.end(), session.values.begin());
    for (size_t i = 0; i < inputs_.size(); ++i) {
      Array& value = session.values[constants_.size() + i];
      value = session.inputs[i];
      value.data = nullptr;
    }
    size_t scratch = 0;
    for (size_t i = 0; i < nodes_.size(); ++i) {
      session.nodes.push_back(nodes_[i]->copy());
      const Status status = session.nodes[i]->plan(session.values);
      if (!status.ok()) return labelled(labels_[i], status);
      scratch = std::max(scratch, session.nodes[i]->scratch_bytes());
    }
    std::vector<int64_t> places(index_of(values_), -1);
    session.bytes = sum(aligned(place_values(session, &places)), scratch);
    if (divisible && session.bytes > kMostSessionBytes) return {};
    session.memory = Memory(session.bytes);
    auto* memory = static_cast<char*>(session.memory.get());
    for (size_t v = 0; v < places.size(); ++v)
      if (places[v] >= 0) session.values[v].data = memory + places[v];
    session.scratch = memory + (session.bytes - scratch);
    return prepare(session);
  }

  // Returns the size of the memory for all values between nodes.
  size_t place_values(const Session& session, std::vector<int64_t>* places) const {
    Places memory;
    std::vector<std::vector<size_t>> ends(nodes_.size() + 1);
    for (size_t i = 0; i < nodes_.size(); ++i) {
      for (const int64_t written : nodes_[i]->writes()) {
        const size_t value = index_of(written);
        if (shown_[value] != written || given_[value] >= 0 || !session.values[value].present) continue;
        (*places)[value] = static_cast<int64_t>(memory.take(aligned(bytes_of(session.values[value]))));
        ends[index_of(last_use_[value])].push_back(value);
      }
      for (const size_t value : ends[i])
        memory.give_back(static_cast<size_t>((*places)[value]), aligned(bytes_of(session.values[value])));
    }
    return memory.end();
  }

  // Gives each node its packed weights, which are packed when they are needed first.
  Status prepare(Session& session) {
    for (size_t i = 0; i < nodes_.size(); ++i) {
      Node& node = *session.nodes[i];
      const size_t bytes = node.prepared_bytes();
      const std::vector<int64_t> weights = node.weights();
      const bool constant = std::all_of(weights.begin(), weights.end(),
                                        [&](int64_t value) { return value < static_cast<int64_t>(constants_.size()); });
      if (bytes == 0 || !constant) continue;
      std::shared_ptr<Memory> memory = find_prepared(i, node.prepared_kind());
      if (!memory) {
        memory = std::make_shared<Memory>(bytes);
        node.prepare(memory->get());
        memory = remember_prepared({i, node.prepared_kind(), bytes, memory});
      }
      node.use_prepared(memory->get());
      session.prepared.push_back(std::move(memory));
    }
    return {};
  }

  std::shared_ptr<Memory> find_prepared(size_t node, const Node::PreparedKind& kind) {
    if (const PatientLock lock(mutex_); lock)
      for (const Prepared& one : prepared_)
        if (one.node == node && one.kind == kind) return one.memory;
    return nullptr;
  }

  // Returns the memory to use: what another thread has prepared in the meantime, if there is that.
  std::shared_ptr<Memory> remember_prepared(const Prepared& made) {
    if (const PatientLock lock(mutex_); lock) {
      for (const Prepared& one : prepared_)
        if (one.node == made.node && one.kind == made.kind) return one.memory;
      prepared_.push_back(made);
    }
    return made.memory;
  }

  // Computes the rows from `row` on, as many as the session has.
  Status run_piece(Session& session, int64_t row, const std::vector<Array>& inputs, const std::vector<Array>& outputs,
                   std::vector<NodeProfile>* profile) {
    const auto from_row = [row](const Array& array) {
      const int64_t rows = std::max<int64_t>(1, array.shape[0]);
      return array.as<char>() + row * static_cast<int64_t>(bytes_of(array)) / rows;
    };
    for (size_t i = 0; i < inputs_.size(); ++i) session.values[constants_.size() + i].data = from_row(inputs[i]);
    for (size_t i = 0; i < outputs_.size(); ++i) {
      const size_t value = index_of(outputs_[i]);
      if (given_[value] == static_cast<int64_t>(i)) session.values[value].data = from_row(outputs[i]);
    }
    for (size_t i = 0; i < nodes_.size(); ++i) {
      Node& node = *session.nodes[i];
      if (node.is_view()) {
        session.values[index_of(node.writes()[0])].data = session.values[index_of(node.reads()[0])].data;
        if (profile) note(session, i, 0, profile);
        continue;
      }
      const auto begin = std::chrono::steady_clock::now();
      const Status status = node.run(session.values, session.scratch);
      if (!status.ok()) return labelled(labels_[i], status);
      if (profile)
        note(session, i, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(), profile);
    }
    for (const size_t i : copied_) {
      const Array& value = session.values[index_of(outputs_[i])];
      if (const size_t bytes = bytes_of(value)) std::memcpy(from_row(outputs[i]), value.data, bytes);
    }
    return {};
  }

  static void note(const Session& session, size_t node, double seconds, std::vector<NodeProfile>* profile) {
    NodeProfile& entry = (*profile)[node];
    entry.seconds += seconds;
    entry.results.clear();
    for (const int64_t value : session.nodes[node]->writes())
      if (session.values[index_of(value)].present) entry.results.push_back(session.values[index_of(value)]);
  }

  std::vector<Array> constants_;
  std::vector<ProgramInput> inputs_;
  std::vector<int64_t> outputs_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<std::string> labels_;
  int64_t values_ = 0;
  std::vector<int64_t> last_use_;  // for each value, the node; the number of nodes for an output
  std::vector<int64_t> shown_;     // for each value, the value whose memory it has
  std::vector<int64_t> given_;     // for each value, the output whose memory it has; -1 for none
  std::vector<size_t> copied_;     // the outputs that are copied at the end

  std::mutex mutex_;  // of what follows
  std::vector<std::unique_ptr<Session>> idle_;
  std::vector<Prepared> prepared_;
};

Program::Program(std::unique_ptr<Implementation> implementation) : implementation_(std::move(implementation)) {}
Program::~Program() = default;

Status Program::make(const ProgramGraph& graph, std::unique_ptr<Program>* program) {
  auto implementation = std::make_unique<Implementation>();
  FASTSEQ_RETURN_IF_ERROR(implementation->make(graph));
  program->reset(new Program(std::move(implementation)));
  return {};
}

void Program::EndCall::operator()(Call* call) const {
  if (call->program)
    for (std::unique_ptr<Session>* session : {&call->whole, &call->rest}) call->program->keep(std::move(*session));
  delete call;
}

Status Program::begin(const std::vector<Array>& inputs, int threads, CallPointer* call,
                      std::vector<Array>* outputs) const {
  return implementation_->begin(inputs, threads, call, outputs);
}

Status Program::run(Call& call, const std::vector<Array>& inputs, const std::vector<Array>& outputs,
                    std::vector<NodeProfile>* profile) const {
  return implementation_->run(call, inputs, outputs, profile);
}

size_t Program::bytes() const { return implementation_->bytes(); }

}  // namespace fastseq
