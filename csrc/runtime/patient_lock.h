// A lock that gives up after a tenth of a second.
//
// For a mutex that threads hold for moments only. In a forked child, a thread of the parent may seem to hold it for
// ever.
#pragma once

#include <chrono>
#include <mutex>
#include <thread>

namespace fastseq {

class PatientLock {
 public:
  explicit PatientLock(std::mutex& mutex) : lock_(mutex, std::try_to_lock) {
    constexpr int kAttempts = 2000;  // a sleep takes 50 us longer than it is asked to
    for (int attempt = 0; attempt < kAttempts && !lock_; ++attempt) {
      std::this_thread::sleep_for(std::chrono::microseconds(10));
      lock_.try_lock();
    }
  }
  explicit operator bool() const { return lock_.owns_lock(); }

 private:
  std::unique_lock<std::mutex> lock_;
};

}  // namespace fastseq
