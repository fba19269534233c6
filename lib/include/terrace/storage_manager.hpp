#pragma once

#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>
#include <vector>

#include <terrace/api.hpp>
#include <terrace/bitmap.hpp>
#include <terrace/config.hpp>
#include <terrace/l1_memory.hpp>
#include <terrace/l2_adapter.hpp>
#include <terrace/memory_layout.hpp>
#include <terrace/object_key.hpp>
#include <terrace/prefetch.hpp>
#include <terrace/read_lease.hpp>
#include <terrace/status.hpp>
#include <terrace/write_lease.hpp>

namespace terrace {

namespace detail {

class engine;

template <class T>
struct completion {
    using signature = void(std::exception_ptr, T);
};
template <>
struct completion<void> {
    using signature = void(std::exception_ptr);
};
template <class T>
using completion_signature = typename completion<T>::signature;

} // namespace detail

/// How read() reads.
class read_options {
public:
    read_options() = default;

    std::uint32_t readers = 1; ///< locks on each object, 1 to 128; see read_lease::split()
};

/// The engine's one door: L1 over any number of L2 adapters.
///
/// Executor  runs one handler at a time: an io_context that one thread runs, or a strand. All engine work, and every
///           call of an adapter, happens on it.
/// Threads   synchronous members: any thread. Awaitables: awaited on any executor; from another one than the engine's
///           they cross over and back. Each has an async_ form for any completion token.
/// Errors    arguments are checked at the door: std::invalid_argument names the value and what was expected, and
///           nothing has changed. After close(): system_error(errc::closed); leases say l1_error::closed.
/// Lifetime  the executor outlives the manager, every ticket and handle of it, and every call on other threads that
///           gives a lease back. co_await close() before the end. A manager destroyed without it asks everything to
///           stop; what adapters have in flight then ends on the executor, and keeps its memory until it has.
class TERRACE_API storage_manager {
public:
    /// Throws std::invalid_argument for a configuration that cannot be, std::system_error if L1's memory cannot be had.
    explicit storage_manager(asio::any_io_executor executor, config cfg = {});
    storage_manager(storage_manager&&) noexcept;
    storage_manager& operator=(storage_manager&&) noexcept;
    ~storage_manager();

    // ---- adapters ----

    /// The adapter's index is one more than that of the one added before it: lower indices are preferred.
    adapter_id add_adapter(std::unique_ptr<l2_adapter> adapter, adapter_options options = {});

    /// Starts nothing more on the adapter, drops what is queued for it, waits for what is in flight, closes it.
    /// Errors: errc::unknown_adapter; errc::close_timed_out after config::close_timeout, and it goes on in the
    /// background.  Cancelled: the adapter is removed all the same, in the background.
    asio::awaitable<void> remove_adapter(adapter_id id);

    // ---- L1 ----

    /// Stages memory for the keys, evicting as needed, but for what those need who wait for memory: theirs is the first
    /// turn. Keys are served in order; see l1_error for those that fail.
    /// A key twice in the batch, an empty key or an empty layout: std::invalid_argument.
    [[nodiscard]] write_lease reserve_write(std::span<const object_key> keys, const memory_layout& layout,
                                            write_mode mode = write_mode::new_only);

    /// The same, but where memory is short it waits, in order of arrival and holding nothing, for readers and stores
    /// to let go of theirs. At the deadline, or when nothing is left to wait for, it answers as reserve_write() does.
    /// deadline   in the future of the engine's clock
    /// Cancelled  operation_aborted; nothing is reserved
    asio::awaitable<write_lease> reserve_write_when_free(std::vector<object_key> keys, memory_layout layout,
                                                         clock::time_point deadline,
                                                         write_mode mode = write_mode::new_only);

    /// Locks the leading keys that are resident, up to the first that is not.
    [[nodiscard]] read_lease read(std::span<const object_key> keys, read_options options = {});

    /// For callers that count by key and cannot keep a lease, such as those at the other end of a wire: takes over the
    /// lease's locks, which finish_read() releases. close() releases what is left.
    void keep(read_lease lease);
    /// Releases n locks of each key that keep() took over. Throws std::invalid_argument, having changed nothing, if
    /// fewer are held of any of them.
    void finish_read(std::span<const object_key> keys, std::uint32_t n = 1);

    /// Keeps what is resident of the keys in L1 until `until`, which is in the future of the engine's clock, or until
    /// unpin(), erase() or clear_mode::force. Pinned again, it stays for the longer of the two; what replaces it is
    /// pinned in its place. Bit i: key i is pinned; clear: it is not resident, or config::pinned_limit is reached.
    bitmap pin(std::span<const object_key> keys, clock::time_point until);
    /// Bit i: key i was pinned.
    bitmap unpin(std::span<const object_key> keys);

    /// Marks as used just now, the tail before the head, without reading. Bit i: key i is resident.
    bitmap touch(std::span<const object_key> keys);

    /// Removes from L1; L2 keeps its copies. What is being read is hidden at once and freed at its last release.
    /// Bit i: key i was resident.
    bitmap erase(std::span<const object_key> keys);

    /// Removes from L1; returns how many objects went or were hidden. Staged objects are not touched.
    std::size_t clear(clear_mode mode);

    /// Where L1 lies, and how other processes can map it; see l1_config::sharing.
    [[nodiscard]] terrace::l1_memory l1_memory() const;

    // ---- prefetch ----

    /// Brings the longest usable prefix of the keys into L1 and locks it for the caller. What is all in L1 already is
    /// answered at once, on the caller's thread, and allocates nothing.
    /// Cancelled: operation_aborted, with every lock given back; I/O that has started keeps its buffers until it ends.
    asio::awaitable<prefetch_result> prefetch(prefetch_request request);

    /// Starts a prefetch that runs on its own.
    [[nodiscard]] prefetch_handle submit_prefetch(prefetch_request request);

    /// Counts and pins what prefetch() would bring, and moves nothing.
    /// Cancelled: operation_aborted, with every lock given back.
    asio::awaitable<lookup_ticket> lookup(prefetch_request request);

    // ---- the whole ----

    /// Waits until everything committed before the call is stored, has failed to be however often it was tried, or its
    /// adapter has missed adapter_options::store_timeout with it.
    /// Cancelled: operation_aborted; the stores go on.
    asio::awaitable<void> flush();

    [[nodiscard]] engine_status status() const;
    /// What each tenant (cache salt) has in L1, under an eviction policy that tells them apart; otherwise nothing.
    [[nodiscard]] std::vector<salt_usage> usage_by_salt() const;

    /// Refuses new work, cancels requests, lets started I/O finish and starts none, closes the adapters. Stores still
    /// queued are dropped and counted: flush() first to keep them. Leases in callers' hands stay valid. Afterwards
    /// status() shows no operation, no L2 lock, and no L1 lock or staged byte but the callers' own.
    /// Errors: errc::close_timed_out if something has not ended then, see config::close_timeout; what an adapter still
    /// works with it keeps, and it is closed once it does not. Cancelled: it goes on in the background. A second call
    /// waits for the first, then returns.
    asio::awaitable<void> close();

    // ---- the same for any completion token: void(std::exception_ptr, T) or void(std::exception_ptr) ----

    template <class CompletionToken>
    auto async_prefetch(prefetch_request request, CompletionToken&& token)
    {
        return initiate<prefetch_result, CompletionToken>(token, &storage_manager::start_prefetch, std::move(request));
    }
    template <class CompletionToken>
    auto async_lookup(prefetch_request request, CompletionToken&& token)
    {
        return initiate<lookup_ticket, CompletionToken>(token, &storage_manager::start_lookup, std::move(request));
    }
    template <class CompletionToken>
    auto async_reserve_write_when_free(std::vector<object_key> keys, memory_layout layout, clock::time_point deadline,
                                       write_mode mode, CompletionToken&& token)
    {
        return initiate<write_lease, CompletionToken>(token, &storage_manager::start_reserve_write, std::move(keys),
                                                      std::move(layout), deadline, mode);
    }
    template <class CompletionToken>
    auto async_remove_adapter(adapter_id id, CompletionToken&& token)
    {
        return initiate<void, CompletionToken>(token, &storage_manager::start_remove_adapter, id);
    }
    template <class CompletionToken>
    auto async_flush(CompletionToken&& token)
    {
        return initiate<void, CompletionToken>(token, &storage_manager::start_flush);
    }
    template <class CompletionToken>
    auto async_close(CompletionToken&& token)
    {
        return initiate<void, CompletionToken>(token, &storage_manager::start_close);
    }

private:
    template <class T>
    using handler = asio::any_completion_handler<detail::completion_signature<T>>;

    template <class T, class CompletionToken, class... Parameters, class... Arguments>
    auto initiate(std::remove_reference_t<CompletionToken>& token, void (storage_manager::*start)(Parameters...),
                  Arguments&&... arguments);

    void start_prefetch(prefetch_request request, handler<prefetch_result> done);
    void start_lookup(prefetch_request request, handler<lookup_ticket> done);
    void start_reserve_write(std::vector<object_key> keys, memory_layout layout, clock::time_point deadline,
                             write_mode mode, handler<write_lease> done);
    void start_remove_adapter(adapter_id id, handler<void> done);
    void start_flush(handler<void> done);
    void start_close(handler<void> done);

    std::shared_ptr<detail::engine> engine_;
};

template <class T, class CompletionToken, class... Parameters, class... Arguments>
auto storage_manager::initiate(std::remove_reference_t<CompletionToken>& token,
                               void (storage_manager::*start)(Parameters...), Arguments&&... arguments)
{
    return asio::async_initiate<CompletionToken, detail::completion_signature<T>>(
        [this, start](auto done, auto... values) { (this->*start)(std::move(values)..., std::move(done)); }, token,
        std::forward<Arguments>(arguments)...);
}

} // namespace terrace
