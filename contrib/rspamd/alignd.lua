-- Tells alignd what Rspamd, a milter behind it on the same MTA, did with a message that alignd had accepted: such mail is
-- then in no aggregate report, and `alignd why` says who refused it. Mail that Rspamd lets pass is not told about.
--
-- Into /etc/rspamd/rspamd.local.lua (Debian):   dofile('/etc/rspamd/alignd.lua')
-- Into alignd.toml:                             control.outcome_users = ["_rspamd"]
--
-- Needs alignd on the same host, and Rspamd asked by the MTA's milter protocol, which gives it the queue id. It asks once,
-- over alignd's socket, without blocking; where nobody answers in time it logs that and lets the mail go its way.

local logger = require "rspamd_logger"
local tcp = require "rspamd_tcp"
local trie = require "rspamd_trie"
local ucl = require "ucl"

-- `control.socket` of alignd.toml.
local control_socket = '/run/alignd/control.sock'
-- Seconds that a refused message may wait for alignd.
local timeout = 1.0
-- What Rspamd's actions come to. With `quarantine_on_reject = true` in its proxy worker, say `['reject'] = 'held'`.
-- Mail that is deferred comes again, and alignd judges it anew: only the last time counts. What is in none of these, such
-- as `greylist` where no module made a soft reject of it, the milter protocol lets pass.
local outcomes = {
  ['reject'] = 'refused_later',
  ['discard'] = 'refused_later',
  ['soft reject'] = 'refused_later',
  ['quarantine'] = 'held',
}
-- Symbols named in the reason, the weightiest first.
local most_symbols = 5

-- "rspamd: reject, score 16.20 of 15.00: BAYES_SPAM, FORGED_SENDER"
local function reason(task, action)
  local score = task:get_metric_score() or {}
  local symbols = {}
  for _, symbol in ipairs(task:get_symbols_all() or {}) do
    if (symbol.score or 0) > 0 then
      symbols[#symbols + 1] = symbol
    end
  end
  table.sort(symbols, function(a, b)
    if a.score ~= b.score then return a.score > b.score end
    return a.name < b.name
  end)
  local names = {}
  for i = 1, math.min(most_symbols, #symbols) do
    names[i] = symbols[i].name
  end
  local text = string.format('rspamd: %s, score %.2f of %.2f', action, score[1] or 0, score[2] or 0)
  if #names > 0 then
    text = text .. ': ' .. table.concat(names, ', ')
  end
  return text
end

-- The first Message-ID of a header, as alignd reads it; nil where there is none, or none that JSON can carry.
local function message_id(header)
  local unfolded = ('\n' .. header):gsub('\r', ''):gsub('\n([ \t])', '%1')
  local value = unfolded:match('\n[Mm][Ee][Ss][Ss][Aa][Gg][Ee]%-[Ii][Dd][ \t]*:([^\n]*)')
  if not value or value:find('[^\t\32-\126]') then
    return nil
  end
  local id = (value:match('<([^>]*)') or value):gsub('%s', '')
  if id == '' or #id > 998 then
    return nil
  end
  return id
end

-- `request` says how the connection lives: with the task, or without one. Both ids, since MTAs use queue ids again and
-- alignd doesn't judge all mail: an older message may have had this one.
local function tell(request, queue_id, header, outcome, reason)
  local log_of = request.task or rspamd_config
  local line = ucl.to_format({
    v = 1,
    request = 'outcome',
    queue_id = queue_id,
    message_id = message_id(header),
    outcome = outcome,
    reason = reason,
  }, 'json-compact') .. '\n'
  local function answered(err, data)
    if err then
      logger.errx(log_of, 'alignd was not told that %s is %s: %s (is our user in its control.outcome_users?)',
        queue_id, outcome, err)
      return
    end
    local answer = tostring(data)
    if answer:find('"ok":true', 1, true) then
      logger.infox(log_of, 'alignd knows that %s is %s', queue_id, outcome)
    else
      logger.errx(log_of, 'alignd did not take that %s is %s: %s', queue_id, outcome, answer)
    end
  end
  request.host = control_socket
  request.port = 0
  request.timeout = timeout
  request.data = { line }
  request.stop_pattern = '\n'
  request.callback = answered
  if not tcp.request(request) then
    logger.errx(log_of, 'alignd was not told that %s is %s: %s cannot be reached', queue_id, outcome, control_socket)
  end
end

local function queue_id_of(task)
  local queue_id = task:get_queue_id()
  if queue_id and queue_id ~= '' and queue_id ~= 'undef' then
    return queue_id
  end
  return nil
end

local function tell_action(task)
  local action = task:get_metric_action()
  local queue_id = queue_id_of(task)
  if outcomes[action] and queue_id then
    local header = tostring(task:get_raw_headers())
    tell({ task = task }, queue_id, header, outcomes[action], reason(task, action))
  end
end

-- Rspamd rejects GTUBE, its test mail, before any rule runs, and runs none after it. So it is looked for before the message
-- is read. When the message has come to its end and no pre-filter has run, it was rejected for that.
local gtube = trie.create({ 'XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X' }, 0)
local with_gtube = {}

local function look_for_gtube(task)
  local queue_id = queue_id_of(task)
  if not queue_id or not gtube:search_rawmsg(task, function() return 1 end) then
    return
  end
  local ev_base, uid = task:get_ev_base(), task:get_uid()
  local header = tostring(task:get_content():sub(1, 65536)):gsub('\r?\n\r?\n.*', '\n')
  with_gtube[uid] = true
  task:get_mempool():add_destructor(function()
    if with_gtube[uid] then
      with_gtube[uid] = nil
      tell({ ev_base = ev_base, config = rspamd_config }, queue_id, header, outcomes['reject'], 'rspamd: reject, GTUBE')
    end
  end)
end

rspamd_config:register_symbol({
  name = 'ALIGND_GTUBE',
  type = 'connfilter',
  flags = 'empty,explicit_disable,ignore_passthrough',
  callback = look_for_gtube,
})
rspamd_config:register_symbol({
  name = 'ALIGND_NO_GTUBE',
  type = 'prefilter',
  flags = 'empty,explicit_disable,ignore_passthrough',
  callback = function(task) with_gtube[task:get_uid()] = nil end,
})
rspamd_config:register_symbol({
  name = 'ALIGND_OUTCOME',
  type = 'idempotent',
  flags = 'empty,explicit_disable,ignore_passthrough',
  callback = tell_action,
})
