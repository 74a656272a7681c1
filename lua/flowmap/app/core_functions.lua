--- The functions of the core that are not operations: their arguments, and what they do. The only
-- description of them, for `fm.help` and the reference; that of an operation is in core/ops.
-- @module flowmap.app.core_functions

local M = {}

--- For users: name -> { arguments, description }.
M.public = {
  arange = { "(n [, dtype])", "The numbers 0 to n - 1." },
  bytes = { "(tensor)", "The values as a string of little-endian bytes." },
  copy_from = { "(tensor, other)", "Overwrite the values of a tensor by those of another." },
  eigh = { "(a)", "Eigenvalues of a symmetric float64 matrix, ascending, and its eigenvectors as "
    .. "rows." },
  finite = { "(tensor)", "Whether all values are finite; if not, also the index of the first that "
    .. "is not, counted from 1." },
  flat = { "(tensor)", "The values as a list." },
  from_bytes = { "(text, shape)", "The bytes of a string as a uint8 tensor." },
  full = { "(shape, number [, dtype])", "A tensor of equal values." },
  get = { "(tensor, i, ...)", "The value at an index, from 1 in each axis." },
  gradcheck = { "([name])", "Check the derivatives of one operation, or of all." },
  info = { "()", "Version, instruction set, BLAS kernel and threads." },
  is_tensor = { "(value)", "Whether a value is a tensor." },
  item = { "(tensor)", "The value of a tensor that has only one." },
  load_image = { "(path)", "A PNG or JPEG file as a uint8 tensor (H, W, 3)." },
  load_npy = { "(path)", "The tensor in a .npy file; whole numbers are float32, bytes uint8. "
    .. "One of the shape (n, d) is a data set, see points." },
  load_safetensors = { "(path)", "The tensors of a file by name, and its metadata." },
  neg = { "(tensor)", "The values with the opposite sign." },
  normal = { "(shape, {seed=, stream=, step=, row0=, dtype=})", "Standard normal numbers." },
  ops = { "()", "The table of operations." },
  save_npy = { "(path, tensor)", "Write a .npy file." },
  save_png = { "(path, tensor)", "Write an image (H, W, 3): uint8, or float in [-1, 1]." },
  save_safetensors = { "(path, tensors [, metadata, keep])", "Write tensors by name." },
  set_threads = { "(n)", "Use this number of threads." },
  sort = { "(tensor)", "Every row in ascending order." },
  tensor = { "(numbers [, dtype])", "A tensor of a number or of nested lists of numbers." },
  tostring = { "(tensor)", "Format, shape and first values as text." },
  totable = { "(tensor)", "The values as nested lists." },
  uniform = { "(shape, {seed=, stream=, step=, row0=, dtype=})", "Uniform numbers in [0, 1)." },
  view = { "(tensor, first, n)", "Some entries of the first axis, sharing their memory." },
}

--- For the modules in lua/flowmap, and subject to change: name -> { arguments, description }.
M.internal = {
  clock = { "()", "Seconds of a clock that only moves forward." },
  columns = { "([fd])", "The width of the terminal behind a file descriptor (default 1), 0 if it "
    .. "is unknown; nothing if that is not a terminal." },
  counterpart = { "(name)", "The name here of a function of PyTorch, JAX or NumPy, or nil." },
  exe = { "(traces, which, row0 [, passes, bf16])", "The executable of traces: which[k] is run by "
    .. "micro-batch k, whose first row is row0[k]." },
  fetch = { "(url, path [, report])", "Download a file. report(now, total) may stop it by "
    .. "returning false." },
  folder_names = { "(path)", "The names in a folder, in no order." },
  folder_writable = { "(path)", "Whether files can be made in a folder." },
  follow_parent = { "(pid)", "Receive SIGTERM when the parent process ends." },
  home = { "()", "The user's home folder; nothing if it is unknown." },
  ignore_broken_pipes = { "()", "Let writes to a closed pipe fail instead of ending the process." },
  interrupted = { "()", "Whether SIGINT, SIGTERM or SIGHUP has arrived." },
  isatty = { "([fd])", "Whether standard output (1, the default) or error (2) is a terminal." },
  lock = { "(path)", "An exclusive lock on a file, or nil while another process holds it." },
  optim = { "(conf, params)", "An optimiser of a list of tensors: what fm.optimiser is built on." },
  own_sources = { "(prefix)", "Count sources with this prefix as the library's: errors name lines "
    .. "of other files." },
  pack = { "(path, info)", "Begin a file of packed images." },
  pack_blank = { "(shape)", "A uint8 tensor of zeros that uses no memory until it is read." },
  pack_look = { "(path)", "What a file of packed images says about itself." },
  pack_map = { "(path, first, n [, stamp])", "Images and labels of a packed file, mapped into "
    .. "memory; `first` is counted from 0." },
  pack_stamp = { "(path)", "The size and times of a packed file, and whether it is too recent to "
    .. "be trusted." },
  pack_text = { "", "A number: the description in a packed file must be shorter, in bytes." },
  pack_verify = { "(path)", "Compare a packed file with its checksum; its stamp as of "
    .. "pack_stamp." },
  passes = { "()", "The table of the compiler's passes." },
  peak = { "([threads])", "Measured float32 multiply-add FLOP/s." },
  pid = { "()", "The number of this process." },
  private_folder = { "()", "A new folder that only this user can enter, and a handle that removes "
    .. "it when closed." },
  probe = { "()", "SHA-256 of the results of all operations: a fingerprint of the numerics." },
  program_text = { "(traces, which, row0, passes, bf16, pass)", "What a pass leaves, as text." },
  ranks = { "()", "The number of this rank, counted from 1, and of all ranks of a launcher." },
  ranks_alone = { "(alone)", "Whether this rank counts as the only one from now on." },
  ranks_copy = { "(text, [rank])", "The text of a rank, by default the first; of a tensor, the "
    .. "values become those of that rank." },
  ranks_most = { "(n)", "The largest of the whole numbers of all ranks." },
  set_isa = { "(name)", "Use an instruction set, for tests; the name in use." },
  sha256 = { "(text)", "SHA-256 of a string, in hexadecimal." },
  sha256_file = { "(path)", "SHA-256 of a file, in hexadecimal." },
  source = { "(path)", "A folder or an archive of images, to be packed." },
  standin = { "(kind)", "The side in pixels and the names of the classes of drawn stand-in data." },
  sweep = { "(path)", "Remove the temporary files of killed writers of a path." },
  sync_file = { "(path)", "Flush a file to the disk." },
  trace = { "()", "Begin a trace: what fm.grad, fm.jvp and fm.program are built on." },
  user_place = { "()", "The line of the user's file that is running, as the start of a sentence." },
  watch_signals = { "()", "Handle SIGINT, SIGTERM and SIGHUP from now on: see `interrupted`." },
  write_file = { "(path, text)", "Write a file as a whole or not at all." },
}

return M
