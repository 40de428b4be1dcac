#include "runtime/comm/mpi.h"

#include <cstdlib>

#include <absl/strings/str_cat.h>
#include <mpi.h>

#include "runtime/base/status.h"
#include "runtime/comm/launcher_end.h"
#include "runtime/comm/mpi_transport.h"
#include "runtime/comm/progress.h"

namespace switchyard {

absl::StatusOr<std::unique_ptr<MpiSession>> MpiSession::start(int* argc, char*** argv, const MpiOptions& options) {
  int provided = 0;
  if (const int code = MPI_Init_thread(argc, argv, MPI_THREAD_MULTIPLE, &provided); code != MPI_SUCCESS) {
    return error(ErrorCategory::kUnavailable, absl::StrCat("MPI does not start: ", mpi_error_text(code)));
  }
  std::unique_ptr<MpiSession> session(new MpiSession());
  if (provided < MPI_THREAD_MULTIPLE) {
    return error(ErrorCategory::kUnavailable,
                 "this MPI was built without MPI_THREAD_MULTIPLE, which communication beside computing needs: use "
                 "another build of it");
  }
  SY_ASSIGN_OR_RETURN(auto transport, make_mpi_world_transport());
  MPI_Barrier(MPI_COMM_WORLD);
  session->segments_.hide();
  session->progress_ = std::make_shared<Progress>();
  session->world_ =
      std::make_unique<HostCommunicator>(std::move(transport), "world", options.timeout, session->progress_);
  return session;
}

MpiSession::~MpiSession() {
  if (progress_) progress_->finish();
  world_.reset();
  segments_.show();
  MPI_Finalize();
  // The buffers of failed calls go with progress_, after MPI has let go of them.
}

void MpiSession::abort(int exit_code) {
  end_launcher_after(absl::Seconds(30));
  MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

}  // namespace switchyard
