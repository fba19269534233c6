#pragma once

#include "conformance/subject.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <doctest/doctest.h>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <string_view>
#include <vector>

#include <terrace/bitmap.hpp>
#include <terrace/l2_adapter.hpp>

namespace terrace::conformance {

inline constexpr std::size_t default_bytes = 1000;

[[nodiscard]] object_key key(std::uint64_t n);
[[nodiscard]] std::vector<object_key> keys(std::initializer_list<std::uint64_t> numbers);
[[nodiscard]] std::vector<object_key> key_range(std::uint64_t first, std::size_t count);
/// "101": three bits, the second clear.
[[nodiscard]] bitmap bits(std::string_view digits);

/// Memory as the engine's is: it starts on a page, so that adapters may read and write it directly.
class buffer {
public:
    explicit buffer(std::size_t bytes, std::byte filled_with = {})
        : data_{static_cast<std::byte*>(::operator new(bytes, page))},
          bytes_{bytes}
    {
        std::memset(data_.get(), std::to_integer<int>(filled_with), bytes);
    }

    [[nodiscard]] std::size_t size() const noexcept { return bytes_; }
    [[nodiscard]] std::byte* data() noexcept { return data_.get(); }
    [[nodiscard]] const std::byte* data() const noexcept { return data_.get(); }
    [[nodiscard]] std::byte* begin() noexcept { return data(); }
    [[nodiscard]] std::byte* end() noexcept { return data() + bytes_; }
    [[nodiscard]] const std::byte* begin() const noexcept { return data(); }
    [[nodiscard]] const std::byte* end() const noexcept { return data() + bytes_; }
    const std::byte& operator[](std::size_t i) const noexcept { return data()[i]; }
    friend bool operator==(const buffer& a, const buffer& b) noexcept
    {
        return a.bytes_ == b.bytes_ && std::memcmp(a.data(), b.data(), a.bytes_) == 0;
    }

private:
    static constexpr std::align_val_t page{4096};
    struct freed {
        void operator()(std::byte* data) const noexcept { ::operator delete(data, page); }
    };
    std::unique_ptr<std::byte, freed> data_;
    std::size_t bytes_;
};

/// What version `version` of a key's object holds: different for each key, version and place in the object.
[[nodiscard]] buffer content(const object_key& k, std::size_t bytes, std::uint64_t version = 0);

/// Objects in memory, for one call: the buffers and the items that point to them.
class payloads {
public:
    /// The keys' contents.
    payloads(std::vector<object_key> keys, std::size_t bytes, std::uint64_t version = 0);
    /// Buffers of each layout, filled with what no content has.
    payloads(std::vector<object_key> keys, std::vector<memory_layout> layouts);

    [[nodiscard]] const std::vector<object_key>& keys() const noexcept { return keys_; }
    [[nodiscard]] const buffer& at(std::size_t i) const { return buffers_.at(i); }
    [[nodiscard]] std::vector<store_item> to_store(store_mode mode = store_mode::replace) const;
    [[nodiscard]] std::vector<load_item> to_load();

    /// Whether object i is that version of its key, whole.
    [[nodiscard]] bool holds(std::size_t i, std::uint64_t version = 0) const;

    /// What a call has let go of is the owner's: fills the buffers, and sees whether somebody writes there later.
    void poison();
    [[nodiscard]] bool still_poisoned() const;

private:
    std::vector<object_key> keys_;
    std::vector<memory_layout> layouts_;
    std::vector<buffer> buffers_;
};

/// Empty buffers for objects of so many bytes.
[[nodiscard]] payloads blank(std::vector<object_key> keys, std::size_t bytes = default_bytes);

/// A call that runs beside the test.
template <class T>
class call {
public:
    call(asio::io_context& io, asio::awaitable<T> work) : outcome_{std::make_shared<outcome>()}
    {
        auto end = [o = outcome_](std::exception_ptr error, T value) {
            o->ended = true;
            o->error = error;
            o->value.emplace(std::move(value));
        };
        asio::co_spawn(io, std::move(work), asio::bind_cancellation_slot(outcome_->cancel.slot(), std::move(end)));
    }

    [[nodiscard]] bool ended() const noexcept { return outcome_->ended; }
    [[nodiscard]] bool failed() const noexcept { return outcome_->error != nullptr; }
    void cancel() { outcome_->cancel.emit(asio::cancellation_type::terminal); }
    /// What it returned; throws what it threw.
    T take()
    {
        REQUIRE(ended());
        if (outcome_->error)
            std::rethrow_exception(outcome_->error);
        return std::move(*outcome_->value);
    }
    /// Whether it threw operation_aborted.
    [[nodiscard]] bool aborted() const;

private:
    struct outcome {
        bool ended = false;
        std::exception_ptr error;
        std::optional<T> value;
        asio::cancellation_signal cancel;
    };
    std::shared_ptr<outcome> outcome_;
};

[[nodiscard]] bool is_aborted(const std::exception_ptr& error);

template <class T>
bool call<T>::aborted() const
{
    return ended() && failed() && is_aborted(outcome_->error);
}

/// One adapter in a fresh place, on an executor of its own. Unless a case says otherwise, object k holds content(k).
class world {
public:
    explicit world(const subject& s, std::uint64_t capacity_bytes = 0);
    ~world();

    /// Another adapter in the same place, after this one was destroyed.
    void reopen();

    template <class T>
    call<T> start(asio::awaitable<T> work)
    {
        return call<T>{io, std::move(work)};
    }
    call<bool> start(asio::awaitable<void> work) { return start(with_value(std::move(work))); }

    /// Runs all calls to their ends.
    void finish();

    template <class T>
    T run(asio::awaitable<T> work)
    {
        auto running = start(std::move(work));
        finish();
        return running.take();
    }
    void run(asio::awaitable<void> work) { run(with_value(std::move(work))); }

    bitmap put(std::vector<object_key> which, std::size_t bytes = default_bytes, std::uint64_t version = 0,
               store_mode mode = store_mode::replace);
    /// Which load; checks that those hold that version.
    bitmap get(std::vector<object_key> which, std::size_t bytes = default_bytes, std::uint64_t version = 0);
    bitmap get(std::vector<object_key> which, const memory_layout& layout);
    bitmap lookup(std::vector<object_key> which);
    /// The same, and takes the locks back.
    bitmap find(std::vector<object_key> which);
    void unlock(std::vector<object_key> which);
    bitmap erase(std::vector<object_key> which);
    std::vector<object_key> list(std::size_t page_size = 1000);

    [[nodiscard]] adapter_status status() const { return adapter->status(); }

    asio::io_context io;
    const subject& about;
    std::uint64_t capacity_bytes;
    std::unique_ptr<place> where;
    std::unique_ptr<l2_adapter> adapter;

private:
    static asio::awaitable<bool> with_value(asio::awaitable<void> work);
};

/// No operation runs, nothing is locked.
void check_at_rest(const world& w);

} // namespace terrace::conformance
