#include "scheduler/split_pool.hpp"

#include "scheduler/task_runner.hpp"

#include <algorithm>
#include <utility>

namespace dstream {

void SplitPool::run(TaskContext& task, int count, const Body& body, const std::function<void(int)>& wakeSlots) {
    auto work = std::make_shared<Work>();
    work->body = &body;
    work->errors.resize(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i) work->contexts.push_back(TaskRunner::partOf(task));
    std::unique_lock lock(mutex_);
    open_.push_back(work);
    lock.unlock();
    wakeSlots(count - 1);
    lock.lock();
    while (work->next < work->contexts.size()) runNext(*work, lock);
    std::erase(open_, work);
    work->ended.wait(lock, [&] { return work->running == 0; });
    lock.unlock();
    for (const auto& error : work->errors) {
        if (error) std::rethrow_exception(error);
    }
    for (const auto& context : work->contexts) TaskRunner::absorb(task, *context);
}

bool SplitPool::help() {
    std::unique_lock lock(mutex_);
    while (!open_.empty() && open_.front()->next == open_.front()->contexts.size()) open_.pop_front();
    if (open_.empty()) return false;
    const std::shared_ptr<Work> work = open_.front();
    runNext(*work, lock);
    return true;
}

void SplitPool::runNext(Work& work, std::unique_lock<std::mutex>& lock) {
    const std::size_t split = work.next++;
    ++work.running;
    lock.unlock();
    TaskContext& context = *work.contexts[split];
    work.errors[split] = TaskRunner::runPart(context, [&] {
        context.checkCancelled();
        (*work.body)(static_cast<int>(split), context);
    });
    lock.lock();
    // After a failure the others need not begin: the task fails whatever they do.
    if (work.errors[split]) work.next = work.contexts.size();
    if (--work.running == 0) work.ended.notify_all();
}

}  // namespace dstream
