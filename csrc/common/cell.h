// The properties of a recurrent cell that the drivers need: the number of gates, the values saved for backward, and
// which gates share an operand in the products.
#pragma once

#include <array>
#include <cstdint>

#include "fastseq/rnn.h"

namespace fastseq {

// Gates [first, first + count) of a weight matrix. They have the same operand, so they are one product.
struct GateGroup {
  int64_t first;
  int64_t count;
  int64_t dz_first;  // position of their gradients in a row of dz, in gates
  bool reset;        // the operand is r h_{t-1} instead of h_{t-1}
};

struct GateGroups {
  std::array<GateGroup, 4> groups{};
  int count = 0;
  const GateGroup* begin() const { return groups.data(); }
  const GateGroup* end() const { return groups.data() + count; }
  void add(const GateGroup& group) { groups[static_cast<size_t>(count++)] = group; }
};

struct CellShape {
  int64_t gates = 0;            // G
  int64_t saved = 0;            // values of a unit in the workspace
  int64_t dz = 0;               // gradients of a unit in a row of dz
  int64_t hidden_at = 0;        // position of h among the saved values
  int64_t c_at = 0;             // position of c; 0 for a cell without c
  bool resets_operand = false;  // GRU without reset_after: r h_{t-1} is the operand of the candidate's product

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

  // The groups of the kernel. `factors` is the first dimension of dropout_mask.
  GateGroups input_groups(int factors) const {
    GateGroups groups;
    if (factors <= 1)
      groups.add({0, gates, 0, false});
    else
      for (int64_t g = 0; g < gates; ++g) groups.add({g, 1, g, false});
    return groups;
  }

  // The groups of the recurrent kernel. In backward, GRU's candidate is a group of its own: in the recurrent product
  // its gradient differs from that of its pre-activation.
  GateGroups recurrent_groups(int factors, bool backward) const {
    const bool gru = gates == 3;
    // The gates before this one form a group; every other gate is a group of its own.
    const int64_t first_single = factors > 1 ? 0 : gru && (resets_operand || backward) ? 2 : gates;
    GateGroups groups;
    if (first_single > 0) groups.add({0, first_single, 0, false});
    for (int64_t g = first_single; g < gates; ++g)
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
