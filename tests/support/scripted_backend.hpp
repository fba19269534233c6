#pragma once

#include <deque>
#include <string>
#include <vector>

#include <terrace/cuda/transfer_backend.hpp>

namespace terrace::test {

/// A transfer_backend in host memory whose jobs end when the test says so.
class scripted_backend final : public cuda::transfer_backend {
public:
    struct started_job {
        cuda::transfer_job job;
        completion done;
    };

    [[nodiscard]] std::string_view name() const noexcept override { return "scripted"; }
    void start(cuda::transfer_job job, completion done) override
    {
        ++jobs;
        log += (job.way == cuda::direction::gather ? "g" : "s") + std::to_string(job.layers.first) +
               (job.layers.last > job.layers.first + 1 ? "-" + std::to_string(job.layers.last - 1) : "") + "x" +
               std::to_string(job.items.size()) + " ";
        line.push_back({std::move(job), std::move(done)});
        if (at_once)
            end();
    }
    /// The device is done with the first that was begun, or the one after `later` others.
    void end(boost::system::error_code error = {}, std::size_t later = 0)
    {
        auto job = std::move(line.at(later));
        line.erase(line.begin() + static_cast<std::ptrdiff_t>(later));
        if (!error)
            copy_runs(job.job);
        job.done(error);
    }
    [[nodiscard]] cuda::device_buffer allocate(std::uint64_t bytes) override { return host_->allocate(bytes); }
    void upload(cuda::device_address to, std::span<const std::byte> from) override { host_->upload(to, from); }
    void download(std::span<std::byte> to, cuda::device_address from) override { host_->download(to, from); }

    bool at_once = false;         ///< jobs end within start()
    std::deque<started_job> line; ///< begun and not ended
    std::size_t jobs = 0;
    std::string log; ///< a word for each job: direction, layers, objects

private:
    std::shared_ptr<cuda::transfer_backend> host_ = cuda::make_cpu_backend();
};

} // namespace terrace::test
