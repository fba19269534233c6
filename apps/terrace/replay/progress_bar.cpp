#include "replay/progress_bar.hpp"

#include <cstdio>
#include <fmt/format.h>
#include <unistd.h>

#include "replay/text.hpp"

namespace terrace::replay {
namespace {

constexpr std::size_t bar_width = 24;
constexpr std::chrono::milliseconds between_updates{100};

std::string remaining(double seconds)
{
    constexpr double longest = 360'000; // 100 hours: whoever waits that long wants no seconds
    if (seconds >= longest)
        return "> 99 h";
    const auto s = static_cast<unsigned>(seconds + 0.5);
    if (s >= 3'600)
        return fmt::format("{}:{:02}:{:02}", s / 3'600, s / 60 % 60, s % 60);
    return fmt::format("{}:{:02}", s / 60, s % 60);
}

} // namespace

std::string progress_line(const replay_progress& p)
{
    const auto total = static_cast<double>(p.total);
    const auto done = p.total > 0 ? static_cast<double>(p.requests) / total : 1;
    const auto elapsed = std::chrono::duration<double>(p.elapsed).count();
    const auto rate = elapsed > 0 ? static_cast<double>(p.requests) / elapsed : 0;
    const auto hits = p.blocks > 0 ? static_cast<double>(p.prefix_hit_blocks) / static_cast<double>(p.blocks) : 0;
    const auto filled = static_cast<std::size_t>(done * bar_width);
    return fmt::format("[{}{}] {:3.0f} %  {}/{}  {}/s  hits {:.1f} %  ETA {}", std::string(filled, '#'),
                       std::string(bar_width - filled, '.'), 100 * done, grouped(p.requests), grouped(p.total),
                       grouped(static_cast<std::uint64_t>(rate)), 100 * hits,
                       rate > 0 ? remaining((total - static_cast<double>(p.requests)) / rate) : "-");
}

progress_bar::progress_bar() : on_terminal_{::isatty(STDERR_FILENO) == 1} {}

void progress_bar::show(const replay_progress& progress)
{
    if (!on_terminal_ || progress.elapsed < next_)
        return;
    next_ = progress.elapsed + between_updates;
    shown_ = true;
    fmt::print(stderr, "\r{}\x1b[K", progress_line(progress));
    std::fflush(stderr);
}

void progress_bar::clear()
{
    if (shown_)
        fmt::print(stderr, "\r\x1b[K");
    shown_ = false;
}

} // namespace terrace::replay
