// What tells one recurrent cell from another, as the drivers need it: how many gates, what is saved for backward, and
// which gates share an operand in the products.
#pragma once

#include <array>
#include <cstdint>

#include "fastseq/rnn.h"

namespace fastseq {

// Gates [first, first + count) of a weight matrix, multiplied at once: all have the same operand.
struct GateGroup {
  int64_t first;
  int64_t count;
  int64_t dz_first;  // where the gradients of their pre-activations are in a row of dz, in gates
  bool reset;        // their operand is r h_{t-1}, not h_{t-1}
};

struct GateGroups {
  std::array<GateGroup, 4> groups{};
  int count = 0;
  const GateGroup* begin() const { return groups.data(); }
  const GateGroup* end() const { return groups.data() + count; }
  void add(const GateGroup& group) { groups[static_cast<size_t>(count++)] = group; }
};

struct CellShape {
  int64_t gates = 0;      // G
  int64_t saved = 0;      // values a unit has in the workspace
  int64_t dz = 0;         // gradients a unit has in a row of dz
  int64_t hidden_at = 0;  // which of the saved values is h
  int64_t c_at = 0;       // which is c; 0, which is a gate, for a cell without
  bool resets_operand = false;

  explicit CellShape(const RnnOptions& options) {
    switch (options.cell) {
      case Cell::kLstm:
        *this = {4, 6, 4, 5, 4, false};
        break;
      case Cell::kGru:
        *this = options.reset_after ? CellShape{3, 5, 4, 3, 0, false} : CellShape{3, 4, 3, 3, 0, true};
        break;
      case Cell::kSimpleRnn:
        *this = {1, 1, 1, 0, 0, false};
        break;
    }
  }

  bool has_c() const { return c_at > 0; }

  // Of the kernel. `factors` is dropout_mask's first dimension.
  GateGroups input_groups(int factors) const {
    GateGroups groups;
    if (factors <= 1)
      groups.add({0, gates, 0, false});
    else
      for (int64_t g = 0; g < gates; ++g) groups.add({g, 1, g, false});
    return groups;
  }

  // Of the recurrent kernel. Backward tells GRU's candidate from its gates: its gradient is another one.
  GateGroups recurrent_groups(int factors, bool backward) const {
    const bool gru = gates == 3;
    const int64_t single_threaded = factors > 1 ? 0 : gru && (resets_operand || backward) ? 2 : gates;  // from here on
    GateGroups groups;
    if (single_threaded > 0) groups.add({0, single_threaded, 0, false});
    for (int64_t g = single_threaded; g < gates; ++g)
      groups.add({g, 1, gru && g == 2 ? dz - 1 : g, resets_operand && g == 2});
    return groups;
  }

 private:
  CellShape(int64_t the_gates, int64_t the_saved, int64_t the_dz, int64_t the_hidden_at, int64_t the_c_at, bool resets)
      : gates(the_gates),
        saved(the_saved),
        dz(the_dz),
        hidden_at(the_hidden_at),
        c_at(the_c_at),
        resets_operand(resets) {}
};

}  // namespace fastseq
