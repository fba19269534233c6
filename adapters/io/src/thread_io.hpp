#pragma once

#include <terrace/io/disk_io.hpp>

#include "io_pool.hpp"

namespace terrace::io {

/// Threads that block. An item crosses to them once, whatever it needs there.
class thread_io final : public disk_io {
public:
    explicit thread_io(std::size_t threads) : pool_{threads} {}

    asio::awaitable<void> run(std::span<transfer> transfers) override;
    asio::awaitable<void> run(std::size_t items, staged_work& work) override;
    asio::awaitable<void> for_each(std::size_t items, std::size_t grain, const io_pool::work& item) override;
    asio::awaitable<void> close() override;
    void stop() noexcept override { pool_.stop(); }
    void use_memory(std::span<std::byte> /*memory*/) override {}
    [[nodiscard]] std::string backend() const override { return "threads"; }

private:
    io_pool pool_;
};

} // namespace terrace::io
