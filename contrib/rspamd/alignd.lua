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
local ucl = require "ucl"

-- `control.socket` of alignd.toml.
local control_socket = '/run/alignd/control.sock'
-- Seconds that a refused message may wait for alignd.
local timeout = 1.0
-- What Rspamd's actions come to. With `quarantine_on_reject = true` in its proxy worker, say `['reject'] = 'held'`.
-- Mail that is deferred comes again, and alignd judges it anew: only the last time counts.
local outcomes = {
  ['reject'] = 'refused_later',
  ['discard'] = 'refused_later',
  ['soft reject'] = 'refused_later',
  ['greylist'] = 'refused_later',
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

local function tell(task)
  local action = task:get_metric_action()
  local outcome = outcomes[action]
  local queue_id = task:get_queue_id()
  if not outcome or not queue_id or queue_id == '' or queue_id == 'undef' then
    return
  end
  -- Queue ids are used again: with the Message-ID, if it has one, no other message can be meant.
  local message_id = task:get_message_id()
  if message_id == 'undef' or message_id == '' then
    message_id = nil
  end
  local line = ucl.to_format({
    v = 1,
    request = 'outcome',
    queue_id = queue_id,
    message_id = message_id,
    outcome = outcome,
    reason = reason(task, action),
  }, 'json-compact') .. '\n'
  local function answered(err, data)
    if err then
      logger.errx(task, 'alignd was not told that %s is %s: %s (is our user in its control.outcome_users?)',
        queue_id, outcome, err)
      return
    end
    local answer = tostring(data)
    if answer:find('"ok":true', 1, true) then
      logger.infox(task, 'alignd knows that %s is %s', queue_id, outcome)
    else
      logger.errx(task, 'alignd did not take that %s is %s: %s', queue_id, outcome, answer)
    end
  end
  local asked = tcp.request({
    task = task,
    host = control_socket,
    port = 0,
    timeout = timeout,
    data = { line },
    stop_pattern = '\n',
    callback = answered,
  })
  if not asked then
    logger.errx(task, 'alignd was not told that %s is %s: %s cannot be reached', queue_id, outcome, control_socket)
  end
end

rspamd_config:register_symbol({
  name = 'ALIGND_OUTCOME',
  type = 'idempotent',
  flags = 'empty,explicit_disable,ignore_passthrough',
  callback = tell,
})
