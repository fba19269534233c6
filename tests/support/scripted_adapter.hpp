#pragma once

#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/any_io_executor.hpp>
#include <deque>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include <terrace/l2_adapter.hpp>

namespace terrace::test {

/// A door that calls of one kind stop at, in front of their work, while it is shut: an operation that the device has
/// begun, which nobody can recall. Cancelling does not open it.
class gate {
public:
    void shut() { shut_ = true; }
    void open();
    /// Lets the first that waits pass, and stays shut for the others.
    void let_one_pass();
    [[nodiscard]] std::size_t waiting() const noexcept { return line_.size(); }
    asio::awaitable<void> pass();

private:
    bool shut_ = false;
    std::deque<asio::any_completion_handler<void()>> line_;
};

/// An L2 adapter that does as it is told, and remembers what was asked of it.
class scripted_adapter : public l2_adapter {
public:
    /// What the test and the engine's adapter share; it outlives both.
    struct script {
        // What is stored, by the key's to_string(), with the bytes.
        std::map<std::string, std::vector<std::byte>> objects;

        // What shall happen.
        gate lookups;
        gate loads;
        gate stores;
        gate unlocks;
        gate closing;
        bool lookup_throws = false;
        bool load_throws = false;
        bool store_throws = false;
        bool unlock_throws = false;
        bool close_throws = false;
        bool wrong_size = false;           ///< answers with bitmaps of the wrong size
        std::set<std::string> broken;      ///< found, but their loads fail
        std::set<std::string> unstorable;  ///< their stores fail
        std::uint64_t corrupt_objects = 0; ///< that it says it has found

        // What has happened.
        std::map<std::string, int> locks;
        std::vector<std::string> looked_up;
        std::vector<std::string> loaded;
        std::vector<std::string> stored;
        std::vector<std::string> replaced; ///< of these, what came under store_mode::replace
        int lookup_calls = 0;
        int load_calls = 0;
        int store_calls = 0;
        int unlock_calls = 0;
        int close_calls = 0;
        int in_flight = 0;
        bool closed = false;
        bool destroyed = false;

        [[nodiscard]] int total_locks() const;
    };

    explicit scripted_adapter(std::shared_ptr<script> s) : s_{std::move(s)} {}
    ~scripted_adapter() override { s_->destroyed = true; }

    asio::awaitable<bitmap> lookup_and_lock(std::span<const object_key> keys) override;
    asio::awaitable<bitmap> load(std::span<const load_item> items) override;
    asio::awaitable<bitmap> store(std::span<const store_item> items) override;
    asio::awaitable<void> unlock(std::span<const object_key> keys) override;
    asio::awaitable<bitmap> erase(std::span<const object_key> keys) override;
    asio::awaitable<key_page> list(list_cursor cursor) override;
    [[nodiscard]] adapter_status status() const override;
    asio::awaitable<void> close() override;

private:
    std::shared_ptr<script> s_;
};

} // namespace terrace::test
