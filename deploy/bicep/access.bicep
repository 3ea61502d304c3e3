// Who may do what, in one place. Containers, not the whole account: `lake` holds raw rows, tables and development's
// models, `production` the promoted models, `code` what Synapse runs.
param lakeName string
param vaultName string
param databricksName string
param trainerId string
param promoterId string
param factoryId string
param connectorId string
param synapseId string
param serverId string
param databricksObjectId string
param mlflowId string
param ingressId string
param operatorsObjectId string

// What was not deployed has no identity.
var writers = filter([trainerId, promoterId, factoryId, connectorId, synapseId], id => !empty(id))
var productionWriters = filter([promoterId, connectorId, synapseId], id => !empty(id))
var productionReaders = filter([trainerId, serverId], id => !empty(id))
// A secret scope of Databricks reads the vault as Databricks' own application, whoever runs the job.
var secretReaders = filter([trainerId, promoterId, factoryId, synapseId, serverId, databricksObjectId], id => !empty(id))

module lakeWriters 'modules/containerRole.bicep' = [for (id, number) in writers: {
  name: 'lake-writer-${number}'
  params: {
    accountName: lakeName
    containerName: 'lake'
    principalId: id
    role: 'Storage Blob Data Contributor'
  }
}]

module productionWriter 'modules/containerRole.bicep' = [for (id, number) in productionWriters: {
  name: 'production-writer-${number}'
  params: {
    accountName: lakeName
    containerName: 'production'
    principalId: id
    role: 'Storage Blob Data Contributor'
  }
}]

module productionReader 'modules/containerRole.bicep' = [for (id, number) in productionReaders: {
  name: 'production-reader-${number}'
  params: {
    accountName: lakeName
    containerName: 'production'
    principalId: id
    role: 'Storage Blob Data Reader'
  }
}]

module codeReader 'modules/containerRole.bicep' = if (!empty(synapseId)) {
  name: 'code-reader'
  params: {
    accountName: lakeName
    containerName: 'code'
    principalId: synapseId
    role: 'Storage Blob Data Reader'
  }
}

// MLflow's server writes its nightly dumps; clients write artifacts themselves.
module backupWriter 'modules/containerRole.bicep' = if (!empty(mlflowId)) {
  name: 'backup-writer'
  params: {
    accountName: lakeName
    containerName: 'backups'
    principalId: mlflowId
    role: 'Storage Blob Data Contributor'
  }
}

// AKS' ingress controller reads the certificates for TLS.
module certificateReader 'modules/vaultRole.bicep' = if (!empty(ingressId)) {
  name: 'certificate-reader'
  params: {
    vaultName: vaultName
    principalId: ingressId
    principalType: 'ServicePrincipal'
    role: 'Key Vault Certificate User'
  }
}

module secretReader 'modules/vaultRole.bicep' = [for (id, number) in secretReaders: {
  name: 'secret-reader-${number}'
  params: {
    vaultName: vaultName
    principalId: id
    principalType: 'ServicePrincipal'
    role: 'Key Vault Secrets User'
  }
}]

module secretWriter 'modules/vaultRole.bicep' = {
  name: 'secret-writer'
  params: {
    vaultName: vaultName
    principalId: operatorsObjectId
    principalType: 'Group'
    role: 'Key Vault Secrets Officer'
  }
}

// Data Factory signs in to the workspace by its managed identity, which Databricks grants to its contributors only.
module jobStarter 'modules/databricksRole.bicep' = if (!empty(databricksName)) {
  name: 'job-starter'
  params: {
    workspaceName: databricksName
    principalId: factoryId
    role: 'Contributor'
  }
}
